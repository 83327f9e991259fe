# SPDX-License-Identifier: GPL-2.0-only
"""The PageLayout made from the features of kernels that no guest here runs.

Each kernel is a drgn Program with just the types that its sources have; what those say was read in
the kernel's history, not in the output of build_layout().
"""

from dataclasses import dataclass, field

import pytest
from drgn import (
    Architecture,
    FindObjectFlags,
    Object,
    Platform,
    Program,
    Type,
    TypeEnumerator,
    TypeKind,
    TypeMember,
)

from pageinspect.errors import PageInspectError
from pageinspect.layout import build_layout
from pageinspect.model.layout import Marker, OrderField, PageLayout
from pageinspect.model.page_types import Scheme, WordScheme

FLAGS = {"PG_locked": 0, "PG_active": 5, "PG_slab": 9, "PG_head": 16}


@dataclass
class Kernel:
    """What a kernel's types have, in offsets from the head's struct page."""

    members: dict[str, int] = field(default_factory=dict)
    folio: dict[str, int] = field(default_factory=dict)
    overlays: dict[str, dict[str, int]] = field(default_factory=dict)
    """Other structures that overlay struct page."""
    flags: dict[str, int] = field(default_factory=lambda: dict(FLAGS))
    pagetype: dict[str, int] = field(default_factory=dict)
    dtors: dict[str, int] = field(default_factory=dict)
    vmcoreinfo: dict[str, str] = field(default_factory=dict)
    memdesc: dict[str, int] = field(default_factory=dict)
    page: dict[str, int] | None = None
    """All members of struct page, where they are not those of today."""
    size: int = 64

    def layout(self) -> PageLayout:
        prog = Program(Platform(Architecture.X86_64))
        types = self._types(prog)
        values = {"PAGE_SHIFT": 12, "vmemmap": 0xFFFFEA0000000000}

        def find_type(_p: Program, kinds: set[TypeKind], name: str, _f: object) -> Type | None:
            found = types.get(name)
            return found if found is not None and found.kind in kinds else None

        def find_object(_p: Program, name: str, _fl: FindObjectFlags, _f: object) -> Object | None:
            return Object(prog, types["u64"], values[name]) if name in values else None

        prog.register_type_finder("test", find_type, enable_index=0)
        prog.register_object_finder("test", find_object, enable_index=0)
        return build_layout(prog, self.vmcoreinfo)

    def _types(self, prog: Program) -> dict[str, Type]:
        u64 = prog.int_type("unsigned long", 8, False)
        u32 = prog.int_type("unsigned int", 4, False)

        def struct(name: str, size: int, members: dict[str, int]) -> Type:
            return prog.struct_type(
                name, size, [TypeMember(u64, m, 8 * offset) for m, offset in members.items()]
            )

        def enum(name: str, values: dict[str, int]) -> Type:
            return prog.enum_type(name, u32, [TypeEnumerator(n, v) for n, v in values.items()])

        page = {
            "flags": 0,
            "mapping": 24,
            "index": 32,
            "private": 40,
            "page_type": 48,
            "_refcount": 52,
        }
        compound = {} if "compound_info" in self.members else {"compound_head": 8}
        types = {
            "u64": u64,
            "page": struct("page", self.size, self.page or page | compound | self.members),
            "pageflags": enum("pageflags", self.flags),
        }
        for name, members in self.overlays.items():
            types[name] = struct(name, self.size, members)
        if self.folio:
            types["folio"] = struct("folio", 256, self.folio)
        if self.pagetype:
            types["pagetype"] = enum("pagetype", self.pagetype)
        if self.memdesc:
            types["memdesc_type"] = enum("memdesc_type", self.memdesc)
        if self.dtors:
            types["compound_dtor_id"] = enum("compound_dtor_id", self.dtors)
        return types


OLD_TAIL = {"compound_dtor": 16, "compound_order": 17}
DTORS = {"NULL_COMPOUND_DTOR": 0, "COMPOUND_PAGE_DTOR": 1, "HUGETLB_PAGE_DTOR": 2}
OFFLINE = {"NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)": "-257"}
BY_DTOR = Marker("dtor", 80, 0xFF, 2)
BY_FLAG = Marker("flag", 0, 1 << 9, 1 << 9)
BYTE = {f"PGTY_{n}": 0xF0 + i for i, n in enumerate(["buddy", "offline", "table", "guard"])} | {
    "PGTY_hugetlb": 0xF4,
    "PGTY_slab": 0xF5,
    "PGTY_zsmalloc": 0xF6,
    "PGTY_mapcount_underflow": 0xFF,
}


def names(scheme: Scheme) -> str:
    return " ".join(t.name for t in scheme.types)


def test_4_18_to_5_10() -> None:
    first = Kernel(members=OLD_TAIL, dtors=DTORS).layout()
    assert first.scheme.name == "bits-4.18"
    assert names(first.scheme) == "buddy balloon kmemcg table"
    assert (first.slab, first.hugetlb) == (BY_FLAG, BY_DTOR)
    assert first.order == OrderField(64 + 17, 0xFF)
    later = Kernel(members=OLD_TAIL, dtors=DTORS, vmcoreinfo=OFFLINE).layout()
    assert later.scheme.name == "bits-5.1"
    assert names(later.scheme) == "buddy offline kmemcg table guard"


def test_the_swap_cache_has_two_flags_one_of_them_an_alias() -> None:
    flags = FLAGS | {"PG_owner_priv_1": 10, "PG_swapcache": 10}
    assert Kernel(members=OLD_TAIL, dtors=DTORS, flags=flags).layout().swapcache is None
    flags |= {"PG_swapbacked": 19}
    layout = Kernel(members=OLD_TAIL, dtors=DTORS, flags=flags).layout()
    assert layout.swapcache == 1 << 10 | 1 << 19


def test_5_11_to_6_2() -> None:
    members = OLD_TAIL | {"memcg_data": 56}
    layout = Kernel(members=members, dtors=DTORS, vmcoreinfo=OFFLINE).layout()
    assert layout.scheme.name == "bits-5.11"
    assert names(layout.scheme) == "buddy offline table guard"
    assert (layout.slab, layout.hugetlb) == (BY_FLAG, BY_DTOR)
    assert layout.fake_heads
    assert layout.movable_tag
    assert not layout.resets


def test_6_3_to_6_5_keep_order_and_dtor_in_the_folio() -> None:
    layout = Kernel(
        members={"memcg_data": 56},
        folio={"_folio_dtor": 80, "_folio_order": 81},
        dtors=DTORS,
        vmcoreinfo=OFFLINE,
    ).layout()
    assert layout.hugetlb == BY_DTOR
    assert layout.order == OrderField(81, 0xFF)


def test_6_6_marks_hugetlb_with_a_flag_of_the_first_tail() -> None:
    layout = Kernel(
        members={"memcg_data": 56},
        folio={"_flags_1": 64},
        flags=FLAGS | {"PG_hugetlb": 5},
        vmcoreinfo=OFFLINE,
    ).layout()
    assert layout.scheme.name == "bits-5.11"
    assert layout.hugetlb == Marker("flag", 64, 1 << 5, 1 << 5)
    assert layout.order == OrderField(64, 0xFF)
    assert layout.flag("active") == 5
    assert layout.flag("hugetlb") is None


def test_6_9_has_hugetlb_as_a_type() -> None:
    layout = Kernel(
        members={"memcg_data": 56},
        folio={"_flags_1": 64},
        vmcoreinfo=OFFLINE | {"NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)": "-2049"},
    ).layout()
    assert layout.scheme.name == "bits-6.9"
    assert names(layout.scheme) == "buddy offline table guard hugetlb"
    assert layout.hugetlb is None
    assert layout.slab == BY_FLAG


def test_6_10_and_6_11_name_their_bits_in_an_enum() -> None:
    flags = {name: bit for name, bit in FLAGS.items() if name != "PG_slab"}
    low = {"PG_buddy": 0x80, "PG_offline": 0x100, "PG_hugetlb": 0x800, "PG_slab": 0x1000}
    macros = {"PAGE_TYPE_BASE": 0xF0000000, "PAGE_MAPCOUNT_RESERVE": 0xFFFFFF80}
    six_ten = Kernel(folio={"_flags_1": 64}, flags=flags, pagetype=low | macros).layout()
    assert six_ten.scheme.name == "bits-6.10"
    assert isinstance(six_ten.scheme, WordScheme)
    assert six_ten.scheme.typed_below == -128
    assert (six_ten.slab, six_ten.hugetlb) == (None, None)
    high = {"PG_buddy": 0x40000000, "PG_hugetlb": 0x04000000, "PG_zsmalloc": 0x01000000}
    six_eleven = Kernel(folio={"_flags_1": 64}, flags=flags, pagetype=high).layout()
    assert six_eleven.scheme.name == "bits-6.11"
    assert names(six_eleven.scheme) == "buddy hugetlb zsmalloc"
    assert isinstance(six_eleven.scheme, WordScheme)
    assert six_eleven.scheme.typed_below == -65536


def test_6_12_is_off_by_one_and_later_ones_are_not() -> None:
    first = Kernel(folio={"_flags_1": 64}, pagetype=BYTE).layout()
    assert first.scheme.name == "byte"
    assert isinstance(first.scheme, WordScheme)
    assert first.scheme.typed_bias == 1
    later = Kernel(folio={"_flags_1": 64}, pagetype=BYTE | {"PGTY_large_kmalloc": 0xF8}).layout()
    assert isinstance(later.scheme, WordScheme)
    assert later.scheme.typed_bias == 0
    assert later.scheme.slot_name(0xF8) == "large_kmalloc"
    assert later.scheme.find("mapcount_underflow") is None


def test_6_17_resets_types() -> None:
    layout = Kernel(
        folio={"_flags_1": 64}, pagetype=BYTE, flags=FLAGS | {"PG_movable_ops_isolated": 16}
    ).layout()
    assert layout.resets
    assert not layout.movable_tag
    assert layout.is_sticky("zsmalloc")
    assert layout.is_sticky("offline")
    assert not layout.is_sticky("slab")


def test_6_15_has_trylock_lists_with_the_order_in_a_member_and_later_in_private() -> None:
    folio = {"_flags_1": 64}
    assert Kernel(folio=folio, pagetype=BYTE).layout().trylock is None
    first = Kernel({"pcp_llist": 8, "order": 16}, folio, pagetype=BYTE).layout()
    assert first.trylock == (8, 16)
    assert Kernel({"pcp_llist": 8}, folio, pagetype=BYTE).layout().trylock == (8, 40)


def test_7_1_may_link_tails_by_a_mask() -> None:
    layout = Kernel(members={"compound_info": 8}, folio={"_flags_1": 64}, pagetype=BYTE).layout()
    assert layout.compound_mask
    assert not layout.fake_heads
    assert layout.compound == 8


def test_a_type_of_tomorrow_is_named_by_the_kernel() -> None:
    layout = Kernel(folio={"_flags_1": 64}, pagetype=BYTE | {"PGTY_netpp": 0xF9}).layout()
    assert layout.scheme.slot_name(0xF9) == "netpp"


SHRUNK = {"flags": 0, "memdesc": 8, "private": 16, "_refcount": 24}
MEMDESCS = {"MEMDESC_TYPE_NONE": 0, "MEMDESC_TYPE_BUDDY": 1, "MEMDESC_TYPE_SLAB": 4}


def test_a_struct_page_of_32_bytes_has_its_type_in_the_memdesc() -> None:
    folio = {"flags": 0, "_large_mapcount": 64}
    flags = {"PG_locked": 0, "PG_movable_ops_isolated": 5}
    layout = Kernel(page=SHRUNK, size=32, folio=folio, flags=flags, memdesc=MEMDESCS).layout()
    assert layout.struct_size == 32
    assert layout.scheme.name == "memdesc"
    assert names(layout.scheme) == "buddy slab"
    assert (layout.page_type, layout.private, layout.refcount) == (8, 16, 24)
    assert (layout.mapping, layout.compound, layout.index, layout.memcg) == (None,) * 4
    assert (layout.order, layout.large_mapcount, layout.hugetlb, layout.slab) == (None,) * 4
    assert not layout.fake_heads
    assert layout.frozen is not None
    assert layout.frozen[:5] == ("buddy", "type_0x2", "type_0x3", "slab", "type_0x5")
    assert len(layout.frozen) == 15
    smallest = Kernel(page={"flags": 0, "memdesc": 8}, size=32, flags=flags, memdesc=MEMDESCS)
    assert (smallest.layout().private, smallest.layout().refcount) == (None, None)
    with pytest.raises(PageInspectError, match="types lack MEMDESC_TYPE_BUDDY"):
        Kernel(page=SHRUNK, size=32, flags=flags).layout()


def test_the_words_of_owners_are_where_the_structures_of_owners_have_them() -> None:
    def words(kernel: Kernel) -> tuple[int | None, ...]:
        layout = kernel.layout()
        return layout.slab_cache, layout.slab_counters, layout.pp, layout.zspage

    folio = {"_flags_1": 64}
    before = {"slab_cache": 24, "counters": 40, "pp": 16}
    assert words(Kernel(members=before, folio=folio)) == (24, 40, 16, 40)
    overlays = {
        "slab": {"slab_cache": 8, "counters": 32},
        "netmem_desc": {"pp": 56},
        "zpdesc": {"zspage": 32},
    }
    assert words(Kernel(members=before, folio=folio, overlays=overlays)) == (8, 32, 56, 32)
    assert words(Kernel(folio=folio)) == (None, None, None, 40)
    flags = {"PG_locked": 0}
    shrunk = Kernel(page=SHRUNK, size=32, flags=flags, memdesc=MEMDESCS, overlays=overlays)
    assert words(shrunk) == (None,) * 4


def test_a_member_that_is_gone_is_named() -> None:
    with pytest.raises(
        PageInspectError, match="struct folio of this kernel has no member _flags_1"
    ):
        Kernel(pagetype=BYTE, folio={"other": 0}).layout()
    with pytest.raises(PageInspectError, match="enum pageflags"):
        Kernel(flags={}).layout()
