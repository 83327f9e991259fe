# SPDX-License-Identifier: GPL-2.0-only
"""PageLayout: how to read struct page of one kernel, as plain integers."""

from dataclasses import dataclass
from typing import Literal

from ..errors import PageInspectError
from .page_types import Scheme

_SIZES = (32, *range(56, 129, 8))
"""Possible sizes of struct page on a 64-bit kernel in bytes: 64, more with debugging options, 32
with memdescs."""

STICKY_TYPES = ("offline", "zsmalloc")
"""Types whose owners leave them set at free, on kernels that reset types at free."""


_RESETS_FROM = {
    True: "inferred from page.compound_info in VMCOREINFO",
    False: "inferred from page types that are bits",
    None: "not in VMCOREINFO",
}


@dataclass(frozen=True, slots=True)
class OrderField:
    """The order of a compound page, in the first tail, `offset` bytes from the head."""

    offset: int
    mask: int


@dataclass(frozen=True, slots=True)
class Marker:
    """A mark of pages that have no page type for it in this kernel: word & mask == equals.

    The 64-bit word is at byte `offset` from the head.
    """

    kind: Literal["flag", "dtor"]
    offset: int
    mask: int
    equals: int

    @classmethod
    def of_byte(cls, kind: Literal["flag", "dtor"], offset: int, value: int) -> "Marker":
        """Return the marker for a value of the byte at `offset`."""
        shift = 8 * (offset % 8)
        return cls(kind, offset - offset % 8, 0xFF << shift, value << shift)


@dataclass(frozen=True, slots=True)
class BitField:
    """A field of the flags word: (flags >> shift) & mask."""

    shift: int
    mask: int


@dataclass(frozen=True, slots=True)
class PageLayout:
    """How to read struct page of one kernel. Offsets and sizes are bytes, flags are bit numbers.

    None means that this kernel does not have it, or that it is unavailable.
    """

    page_shift: int
    struct_size: int
    vmemmap: int
    kernel_half: int
    """The lowest kernel address. It is also the mask of bits that all kernel addresses have set."""
    flags: int
    mapping: int | None
    private: int | None
    page_type: int
    """Offset of the word with the page type, which `scheme` decodes."""
    refcount: int | None
    compound: int | None
    index: int | None
    memcg: int | None
    flag_bits: tuple[tuple[str, int], ...]
    zone_field: BitField | None
    node_field: BitField
    device_zone: int | None
    """Number of ZONE_DEVICE."""
    page_pool: tuple[int, int] | None
    """(mask, value) of the page_pool signature, in the word at offset `compound`."""
    frozen: tuple[str, ...] | None
    """Types whose pages have no references while they are in use."""
    scheme: Scheme
    order: OrderField | None
    large_mapcount: int | None
    """Number of mappings of any page of a large folio. Offset from its head, as the next three."""
    entire_mapcount: int | None
    """Number of mappings of the whole folio."""
    nr_pages_mapped: int | None
    """Number of pages of the folio that are mapped."""
    pincount: int | None
    """Number of pins of the folio."""
    compound_mask: bool
    """compound_info of a tail may be a mask instead of a pointer to its head."""
    fake_heads: bool
    """With HVO, tails may look like heads."""
    slab: Marker | None
    """The mark of slab pages, if slab is not a page type."""
    hugetlb: Marker | None
    """The mark of hugetlb pages, if hugetlb is not a page type."""
    movable_tag: bool
    """Whether the low bits of mapping mark pages with movable_ops."""
    resets: bool | None
    """Whether free_pages_prepare() resets a type that is still set; None if unavailable."""
    swapcache: int | None = None
    """Mask of the flags word: a folio in the swap cache has all of these flags."""
    trylock: tuple[int, int] | None = None
    """Offsets of the list link and of the order in pages on a zone's trylock list; None without."""
    slab_cache: int | None = None
    """Offset of the pointer to the struct kmem_cache, in the head of a slab."""
    slab_counters: int | None = None
    """Offset of the word with the number of objects, in the head of a slab."""
    pp: int | None = None
    """Offset of the pointer to the struct page_pool, in the head of a folio of a page_pool."""
    zspage: int | None = None
    """Offset of the pointer to the struct zspage, in each page of zsmalloc."""
    unavailable: tuple[str, ...] = ()
    """Types, uses and columns that are unavailable from VMCOREINFO alone; empty with types."""

    @property
    def page_size(self) -> int:
        """Bytes of one page."""
        return 1 << self.page_shift

    @property
    def zone_bits(self) -> BitField:
        """The zone in the flags word; a field without bits if it is unavailable."""
        return self.zone_field or BitField(0, 0)

    @property
    def resets_from(self) -> str:
        """The source of `resets`, as text for reports."""
        if self.unavailable:
            return _RESETS_FROM[self.resets]
        return f"inferred from {'' if self.resets else 'the lack of '}PG_movable_ops_isolated"

    @property
    def order_in_flags(self) -> bool:
        """Whether the flags of a first tail hold the order of its folio.

        Since Linux kernel commit ebc1baf5c9b4 ("mm: free up a word in the first tail page")
        (in v6.6).
        """
        return self.order is not None and self.order.offset == self.struct_size + self.flags

    @property
    def markers(self) -> dict[str, Marker]:
        """The marks of pages that have no page type for it in this kernel, by type name."""
        named = (("slab", self.slab), ("hugetlb", self.hugetlb))
        return {name: marker for name, marker in named if marker is not None}

    def flag(self, name: str) -> int | None:
        """Return the bit number of a page flag such as "head", or None without that flag."""
        return next((bit for n, bit in self.flag_bits if n == name), None)

    def is_sticky(self, type_name: str) -> bool:
        """Return whether the owner of this type leaves it set when it frees the page."""
        return bool(self.resets) and type_name in STICKY_TYPES


def check_size(struct_size: int) -> None:
    """Raise PageInspectError if this is not a possible size of struct page in bytes."""
    if struct_size not in _SIZES:
        raise PageInspectError(
            f"struct page has {struct_size} bytes by this kernel's types or VMCOREINFO",
            "the core or its types are damaged, or of a 32-bit kernel; give its own vmlinux: -s",
        )
