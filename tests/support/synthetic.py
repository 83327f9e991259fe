# SPDX-License-Identifier: GPL-2.0-only
"""Struct pages made by hand: a PageLayout of each scheme, and batches with the words one sets."""

from dataclasses import replace

import numpy as np

from pageinspect.classify import UNTYPED, Pages, code_name, head_pfns, outside_heads, use_name
from pageinspect.model import page_types
from pageinspect.model.batch import FolioHeads, PageBatch
from pageinspect.model.layout import BitField, Marker, OrderField, PageLayout
from pageinspect.model.memory_map import MemoryMap, PcpLists

VMEMMAP = 0xFFFFEA0000000000
HEAD = 1 << 6
SIZE = 64
KERNEL_POINTER = 0xFFFF888012345600

BYTE_TYPES = {
    "buddy": 0xF0,
    "offline": 0xF1,
    "table": 0xF2,
    "guard": 0xF3,
    "hugetlb": 0xF4,
    "slab": 0xF5,
    "zsmalloc": 0xF6,
    "unaccepted": 0xF7,
}
LOW_6_10 = {
    "buddy": 0x80,
    "offline": 0x100,
    "table": 0x200,
    "guard": 0x400,
    "hugetlb": 0x800,
    "slab": 0x1000,
}
HIGH_6_11 = {
    "buddy": 0x40000000,
    "offline": 0x20000000,
    "table": 0x10000000,
    "guard": 0x08000000,
    "hugetlb": 0x04000000,
    "slab": 0x02000000,
    "zsmalloc": 0x01000000,
}


SCHEMES = {
    "4.18": page_types.low_scheme("bits-4.18", page_types.BITS_4_18),
    "5.0": page_types.low_scheme("bits-5.1", page_types.BITS_5_1),
    "5.11": page_types.low_scheme("bits-5.11", page_types.BITS_5_11),
    "6.9": page_types.low_scheme("bits-6.9", page_types.BITS_6_9),
    "6.10": page_types.low_scheme("bits-6.10", LOW_6_10),
    "6.11": page_types.high_scheme(HIGH_6_11, "enum"),
    "6.12": page_types.byte_scheme(BYTE_TYPES, off_by_one=True),
    "6.16": page_types.byte_scheme(BYTE_TYPES | {"large_kmalloc": 0xF8}, off_by_one=False),
}

FLAG_BITS = (
    ("locked", 0),
    ("lru", 5),
    ("head", 6),
    ("active", 8),
    ("owner_priv_1", 10),
    ("reserved", 13),
    ("swapbacked", 17),
    ("hwpoison", 20),
)

MODERN = PageLayout(
    page_shift=12,
    struct_size=SIZE,
    vmemmap=VMEMMAP,
    kernel_half=0xFFFF800000000000,
    flags=0,
    mapping=24,
    private=40,
    page_type=48,
    refcount=52,
    compound=8,
    index=32,
    memcg=56,
    flag_bits=FLAG_BITS,
    zone_field=BitField(51, 7),
    node_field=BitField(54, 1023),
    device_zone=4,
    page_pool=(0xFFFFFF800000007C, 0xDEAD000000000040),
    frozen=("buddy", "hugetlb", "slab", "large_kmalloc"),
    scheme=SCHEMES["6.16"],
    order=OrderField(64, 0xFF),
    large_mapcount=SIZE + 16,
    entire_mapcount=SIZE + 24,
    nr_pages_mapped=SIZE + 20,
    pincount=SIZE + 28,
    compound_mask=False,
    fake_heads=True,
    slab=None,
    hugetlb=None,
    movable_tag=False,
    resets=True,
    swapcache=1 << 10 | 1 << 17,
    slab_cache=8,
    slab_counters=40,
    pp=16,
    zspage=40,
)
# As 6.1 has it: slab is a flag, hugetlb a destructor, the order a byte of its own.
OLD = replace(
    MODERN,
    scheme=SCHEMES["5.11"],
    order=OrderField(SIZE + 17, 0xFF),
    slab=Marker("flag", 0, 1 << 9, 1 << 9),
    hugetlb=Marker("dtor", SIZE + 16, 0xFF, 2),
    movable_tag=True,
    resets=False,
)


# As planned upstream: 32 bytes with a typed memdesc; the rest is in what that points to.
MEMDESC_TYPES = {"buddy": 1, "file": 2, "anon": 3, "slab": 4, "table": 9}
MEMDESC = replace(
    MODERN,
    struct_size=32,
    scheme=page_types.memdesc_scheme(MEMDESC_TYPES),
    page_type=8,
    private=16,
    refcount=24,
    mapping=None,
    compound=None,
    index=None,
    memcg=None,
    order=None,
    page_pool=None,
    large_mapcount=None,
    entire_mapcount=None,
    nr_pages_mapped=None,
    pincount=None,
    slab_cache=None,
    slab_counters=None,
    pp=None,
    zspage=None,
    fake_heads=False,
    frozen=(*MEMDESC_TYPES, "type_0x7"),
)


def flag(name: str, layout: PageLayout = MODERN) -> int:
    bit = layout.flag(name)
    assert bit is not None
    return 1 << bit


class Memory:
    """Struct pages under construction; untouched ones are referenced by nobody and untyped."""

    def __init__(self, n: int, layout: PageLayout = MODERN, first: int = 0x1000) -> None:
        self.layout = layout
        self.first = first
        self.words = np.zeros((n, layout.struct_size // 8), np.uint64)
        if layout.scheme.has_mapcount:
            self.words[:, layout.page_type // 8] = 0x00000000FFFFFFFF
        self.readable: np.ndarray | None = None
        self.pcp = PcpLists()
        self.changing = False

    def word(self, index: int, page_type: int, refcount: int = 0) -> "Memory":
        self.words[index, self.layout.page_type // 8] = refcount << 32 | page_type
        return self

    def set(self, index: int | slice, offset: int, value: int) -> "Memory":
        self.words[index, offset // 8] = value
        return self

    def free_block(self, index: int, order: int, word: int = 0xF0000000) -> "Memory":
        return self.word(index, word).set(index, self.layout.private, order)

    def compound(self, index: int, order: int, *, mask: bool = False) -> "Memory":
        """Make a compound page of this order, as far as the batch reaches."""
        self.words[index, 0] |= np.uint64(HEAD)
        field = self.layout.order
        self.words[index + 1, (field.offset - SIZE) // 8] |= np.uint64(
            order << 8 * (field.offset % 8)
        )
        link = (
            (~((SIZE << order) - 1) & (1 << 64) - 1) | 1
            if mask
            else self.layout.vmemmap + (self.first + index) * SIZE + 1
        )
        self.words[index + 1 : index + (1 << order), self.layout.compound // 8] = link
        return self

    def pages(self, outer: FolioHeads | None = None) -> Pages:
        batch = PageBatch(self.first, self.words, self.readable, None)
        heads = head_pfns(self.layout, batch)
        outside = outside_heads(batch, heads)
        if outer is None:
            outer = FolioHeads(np.zeros((len(outside), 2 * self.words.shape[1]), np.uint64))
        end = self.first + len(self.words)
        memory_map = MemoryMap(((self.first, end),), (), pcp=self.pcp, changing=self.changing)
        return Pages(self.layout, memory_map, batch, heads, outside, outer)

    def types(self, outer: FolioHeads | None = None) -> list[str]:
        """Return the type name of each page, untyped ones by what their word says."""
        return [
            UNTYPED.get(code) or code_name(self.layout.scheme, code)
            for code in self.pages(outer).code.tolist()
        ]

    def uses(self, outer: FolioHeads | None = None) -> list[str]:
        return [use_name(self.layout, use) for use in self.pages(outer).use.tolist()]
