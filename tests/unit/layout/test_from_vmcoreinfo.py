# SPDX-License-Identifier: GPL-2.0-only
"""Layouts from VMCOREINFO alone: of three real texts, and of what other releases print."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import VMEMMAP, Memory
from vmcoreinfo_texts import EARLY, ONLINE, PRESENT, program_with_sections, vmcoreinfo_of

from pageinspect.classify import codes_of, use_names
from pageinspect.classify.contradictions import CONTRADICTIONS
from pageinspect.errors import PageInspectError
from pageinspect.layout import build_layout
from pageinspect.model.layout import BitField, Marker, OrderField, PageLayout
from pageinspect.target import vmcoreinfo


def layout_of(info: dict[str, str]) -> PageLayout:
    maps = {0: VMEMMAP | PRESENT | 2 | ONLINE | EARLY, 1: VMEMMAP | PRESENT | 2 | ONLINE | EARLY}
    return build_layout(program_with_sections(info, maps), info)


def edited(kernel: str, *gone: str) -> dict[str, str]:
    return {key: value for key, value in vmcoreinfo_of(kernel).items() if key not in gone}


def words(layout: PageLayout) -> dict[str, int]:
    """Return the types with a value, as the kernel writes them."""
    return {page_type.name: page_type.value for page_type in layout.scheme.types}


def test_6_1() -> None:
    layout = layout_of(vmcoreinfo_of("6.1"))
    assert (layout.page_shift, layout.struct_size, layout.vmemmap) == (12, 64, VMEMMAP)
    assert (layout.flags, layout.compound, layout.mapping) == (0, 8, 24)
    assert (layout.private, layout.page_type, layout.refcount) == (40, 48, 52)
    assert layout.flag_bits == (
        ("lru", 4),
        ("slab", 9),
        ("private", 13),
        ("head", 16),
        ("swapbacked", 19),
    )
    assert layout.swapcache == 1 << 10 | 1 << 19
    assert layout.node_field == BitField(54, 1023)
    assert words(layout) == {"buddy": 0x80, "offline": 0x100}
    assert layout.order == OrderField(64 + 17, 0xFF)
    assert layout.slab == Marker("flag", 0, 1 << 9, 1 << 9)
    assert layout.hugetlb == Marker("dtor", 80, 0xFF, 2)
    assert (layout.movable_tag, layout.compound_mask, layout.fake_heads) == (True, False, True)
    assert layout.resets is False
    assert {"table", "guard", "kmemcg", "pcp", "reserved"} <= set(layout.unavailable)


@pytest.mark.parametrize(("kernel", "mask"), [("6.12", False), ("7.x", True)])
def test_the_byte_scheme(kernel: str, mask: bool) -> None:
    layout = layout_of(vmcoreinfo_of(kernel))
    known = {"buddy": 0xF0, "offline": 0xF1, "hugetlb": 0xF4, "slab": 0xF5}
    assert words(layout) == known | ({"unaccepted": 0xF7} if mask else {})
    assert ("unaccepted" in layout.unavailable) is not mask
    assert {"table", "guard", "zsmalloc", "large_kmalloc"} <= set(layout.unavailable)
    assert (layout.slab, layout.hugetlb, layout.order) == (None, None, OrderField(64, 0xFF))
    assert (layout.compound_mask, layout.fake_heads) == (mask, not mask)
    assert not layout.movable_tag
    assert layout.resets is (True if mask else None)
    assert ("movable_ops" in layout.unavailable) is not mask
    assert dict(layout.flag_bits)["hwpoison"] == (21 if mask else 20)
    assert layout.swapcache == 1 << 10 | 1 << 17


def test_without_a_line_for_either_flag_the_swap_cache_is_unavailable() -> None:
    for name in ("PG_swapcache", "PG_swapbacked"):
        assert layout_of(edited("6.12", f"NUMBER({name})")).swapcache is None


def test_4_18_has_no_offline_pages() -> None:
    layout = layout_of(edited("6.1", "NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)"))
    assert words(layout) == {"buddy": 0x80}
    assert "offline" in layout.unavailable


def test_6_3_keeps_order_and_dtor_in_the_folio() -> None:
    info = edited("6.1", "OFFSET(page.compound_dtor)", "OFFSET(page.compound_order)")
    info |= {"OFFSET(folio._folio_dtor)": "80", "OFFSET(folio._folio_order)": "81"}
    layout = layout_of(info)
    assert layout.order == OrderField(81, 0xFF)
    assert layout.hugetlb == Marker("dtor", 80, 0xFF, 2)


def from_6_6(**numbers: int) -> dict[str, str]:
    info = edited(
        "6.1",
        "OFFSET(page.compound_dtor)",
        "OFFSET(page.compound_order)",
        "NUMBER(HUGETLB_PAGE_DTOR)",
    )
    return info | {f"NUMBER({name})": str(value) for name, value in numbers.items()}


def test_6_6_marks_hugetlb_with_a_flag_of_the_first_tail() -> None:
    layout = layout_of(from_6_6(PG_hugetlb=5))
    assert layout.hugetlb == Marker("flag", 64, 1 << 5, 1 << 5)
    assert layout.order == OrderField(64, 0xFF)


def test_6_9_to_6_11_have_a_type_of_hugetlb_and_then_of_slab() -> None:
    nine = layout_of(from_6_6(PAGE_HUGETLB_MAPCOUNT_VALUE=-2049))
    assert words(nine) == {"buddy": 0x80, "offline": 0x100, "hugetlb": 0x800}
    assert (nine.hugetlb, nine.slab) == (None, Marker("flag", 0, 1 << 9, 1 << 9))
    assert "kmemcg" not in nine.unavailable
    info = from_6_6(PAGE_HUGETLB_MAPCOUNT_VALUE=-2049, PAGE_SLAB_MAPCOUNT_VALUE=-4097)
    del info["NUMBER(PG_slab)"]
    ten = layout_of(info)
    assert words(ten)["slab"] == 0x1000
    assert ten.slab is None
    eleven = layout_of(
        info
        | {
            "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)": str(~0x40000000),
            "NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)": str(~0x20000000),
            "NUMBER(PAGE_HUGETLB_MAPCOUNT_VALUE)": str(~0x04000000),
            "NUMBER(PAGE_SLAB_MAPCOUNT_VALUE)": str(~0x02000000),
        }
    )
    # v6.11's zsmalloc, whose value is nowhere told: 0x01000000 and an offset in the low bits.
    memory = Memory(3, eleven).word(0, 0xFEFF0010, 1).word(1, 0xFDFFFFFF, 1)
    assert memory.types() == ["type_0x1000000", "slab", "reset"]


def test_a_word_of_no_known_scheme() -> None:
    with pytest.raises(PageInspectError, match="0xefffffff, which is in no known scheme"):
        layout_of(vmcoreinfo_of("6.1") | {"NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)": str(~0x10000000)})


@pytest.mark.parametrize(
    "line",
    [
        "SIZE(page)",
        "OFFSET(page._mapcount)",
        "SYMBOL(mem_section)",
        "NUMBER(PG_head_mask)",
        "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)",
    ],
)
def test_a_line_that_is_not_there_is_named(line: str) -> None:
    info = vmcoreinfo_of("7.x")
    prog = program_with_sections(info, {0: VMEMMAP | 3})
    del info[line]
    with pytest.raises(PageInspectError) as caught:
        build_layout(prog, info)
    assert line.removeprefix("NUMBER(").rstrip(")") in caught.value.message


def test_memory_without_one_vmemmap_is_refused() -> None:
    info = vmcoreinfo_of("7.x")
    with pytest.raises(PageInspectError, match="share no vmemmap"):
        build_layout(
            program_with_sections(info, {0: VMEMMAP | 3, 1: VMEMMAP + (1 << 21) | 3}), info
        )


@pytest.fixture
def reduced() -> PageLayout:
    return layout_of(vmcoreinfo_of("7.x"))


def test_types_without_a_name_are_numbers(reduced: PageLayout) -> None:
    memory = Memory(8, reduced).compound(2, 1).word(0, 0xF2000000, 1).word(1, 0xF6000010, 1)
    memory.word(2, 0xF5000000, 0).free_block(4, 2)
    expected = ["type_0xf2", "type_0xf6", "slab", "slab"] + ["buddy"] * 4
    assert memory.types() == expected
    assert memory.uses() == expected
    assert codes_of(reduced, "type_0xf6").sum() == 1


def test_an_unavailable_use_has_no_name(reduced: PageLayout) -> None:
    names = use_names(reduced)
    assert not set(names) & set(reduced.unavailable)
    assert {"buddy", "slab", "anon", "kernel", "idle"} <= set(names)


def test_rules_that_need_more_are_silent(reduced: PageLayout) -> None:
    memory = Memory(8, reduced)
    # A zone and node that there is not, low bits that may be zsmalloc's, a type without references.
    memory.set(0, 0, 0xFFF << 51).word(1, 0xF6000010, 1).word(2, 0xF2000000, 0)
    memory.word(3, 0xF5000010, 1)
    pages = memory.pages()
    found = {rule.name: rule.broken(pages).tolist() for rule in CONTRADICTIONS}
    assert {name: where for name, where in found.items() if where} == {"low-bits": [3]}
    assert not pages.freeing.any()
    named = replace(reduced, unavailable=(), frozen=())
    assert Memory(1, named).word(0, 0xF2000000, 0).pages().freeing.all()


def test_unreadable_pages_are_so_with_every_layout(reduced: PageLayout) -> None:
    memory = Memory(2, reduced)
    memory.readable = np.array([True, False])
    assert memory.uses() == ["idle", "unreadable"]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("SIZE(page)", "0"),
        ("SIZE(page)", "63"),
        ("SIZE(page)", "4096x"),
        ("SIZE(page)", "10000000000000"),
        ("SIZE(mem_section)", "0"),
        ("SIZE(mem_section)", "12"),
        ("SIZE(mem_section)", "65536"),
        ("OFFSET(mem_section.section_mem_map)", "16"),
        ("LENGTH(mem_section)", "-1"),
        ("PAGESIZE", "0"),
        ("PAGESIZE", "9999999"),
        ("NUMBER(SECTION_SIZE_BITS)", "9999999999"),
        ("OFFSET(page._mapcount)", "62"),
        ("OFFSET(page.compound_order)", "99"),
        ("NUMBER(PG_slab)", "-1"),
        ("NUMBER(PG_head_mask)", "3"),
        ("NUMBER(PG_head_mask)", ""),
        ("NUMBER(HUGETLB_PAGE_DTOR)", "300"),
        ("NUMBER(PAGE_OFFLINE_MAPCOUNT_VALUE)", "7"),
        ("SYMBOL(mem_section)", "11112222333344445"),
    ],
)
def test_a_line_that_makes_no_sense(line: str, value: str) -> None:
    info = vmcoreinfo_of("6.1")
    prog = program_with_sections(info, {0: VMEMMAP | 3})
    info = vmcoreinfo.parse("\n".join(f"{k}={v}" for k, v in (info | {line: value}).items()))
    with pytest.raises(PageInspectError, match="VMCOREINFO"):
        build_layout(prog, info)
