# SPDX-License-Identifier: GPL-2.0-only
"""Descriptions of struct pages made by hand."""

from dataclasses import replace
from io import StringIO
from typing import Any

import numpy as np
import pytest
from drgn import Program
from synthetic import MODERN, OLD, SIZE, VMEMMAP, Memory

from pageinspect.analysis.page_facts.describe import describe_page
from pageinspect.analysis.page_facts.facts import Fact, PageFacts
from pageinspect.errors import UsageError
from pageinspect.inspector.address import resolve_addresses
from pageinspect.model.layout import PageLayout
from pageinspect.model.memory_map import MemoryMap, PcpLists
from pageinspect.model.provenance import Provenance
from pageinspect.model.table import Absent
from pageinspect.render import render
from pageinspect.report.page import PageReport

FLAGS = (*MODERN.flag_bits, ("referenced", 2), ("uptodate", 3), ("workingset", 9), ("private", 14))
LAYOUT = replace(MODERN, flag_bits=tuple(sorted(FLAGS, key=lambda f: f[1])))
MEMORY_MAP = MemoryMap(((0x1000, 0x1004), (0x8000, 0x9000)), ())


def test_a_physical_address_is_written_as_in_a_range() -> None:
    texts = ["phys:16M", "phys:0x1000000", "0x1000", "phys:16388K"]
    found = resolve_addresses(texts, None, LAYOUT, MEMORY_MAP)  # type: ignore[arg-type]
    assert found == [0x1000, 0x1000, 0x1000, 0x1001]
    with pytest.raises(UsageError, match="has a unit, but pfns"):
        resolve_addresses(["16M"], None, LAYOUT, MEMORY_MAP)  # type: ignore[arg-type]


def describe(memory: Memory, i: int) -> PageFacts:
    return describe_page(memory.pages(), i, None)


def values(memory: Memory, i: int) -> dict[str, Any]:
    return {fact.name: fact.value for fact in describe(memory, i).facts}


def test_zsmalloc_keeps_an_offset_in_its_word() -> None:
    memory = Memory(2, LAYOUT).word(0, 0xF6000040, 1).set(0, 0, 1 << 14)
    page = values(memory, 0)
    assert (page["pfn"], page["page"], page["phys"]) == (
        0x1000,
        hex(VMEMMAP + 0x40000),
        "0x1000000",
    )
    assert page["use"] == page["type"] == "zsmalloc"
    assert page["word"] == {"raw": "0xf6000040", "reading": "type", "value": "zsmalloc"}
    assert page["first_object"] == 0x40
    assert page["mapcount"] is Absent.NOT_APPLICABLE
    assert page["flag_meanings"] == {"private": "first page of its zspage"}


def test_flags_mean_what_the_type_says() -> None:
    memory = Memory(2, LAYOUT).word(0, 0xF5000000).set(0, 0, 1 << 9)
    memory.word(1, 0xFFFFFFFF, 1).set(1, 0, 1 << 9)
    assert values(memory, 0)["flag_meanings"] == {"workingset": "on a partial list"}
    plain = values(memory, 1)
    assert plain["flags"] == ["workingset"]
    assert "flag_meanings" not in plain


def test_readings() -> None:
    memory = Memory(4, LAYOUT).word(0, 2, 3).word(1, 0xFFFFFFF0).word(2, 0x90000000)
    words = [values(memory, i)["word"] for i in range(4)]
    assert [(w["reading"], w["value"]) for w in words] == [
        ("mapcount", 3),
        ("underflow", -16),
        ("overflow", -0x70000000),
        ("reset", -1),
    ]
    assert values(memory, 0)["mapcount"] == 3
    odd = values(memory, 1)
    assert odd["use"] == "conflict"
    assert odd["why"].startswith("odd-word: ")


def test_typed_while_being_freed() -> None:
    memory = Memory(2, LAYOUT).word(0, 0xF2000000, 0).word(1, 0xF2000000, 1)
    assert [values(memory, i)["freeing"] for i in (0, 1)] == [True, False]


def test_a_large_folio_and_its_first_tail() -> None:
    memory = Memory(8, LAYOUT).compound(0, 3).word(0, 0xFFFFFFFF, 5)
    # _large_mapcount 2 and _nr_pages_mapped in one word, _entire_mapcount 0 and _pincount 7.
    memory.set(1, 16, (0x800003 << 32) | 2).set(1, 24, (7 << 32) | 0)
    memory.set(0, 0, 1 << 6 | 1 << 5)
    page = values(memory, 1)
    assert (page["head"], page["index_in_folio"], page["order"]) == (0x1000, 1, 3)
    assert (page["refcount"], page["head_refcount"]) == (0, 5)
    assert (page["large_mapcount"], page["entire_mapcount"]) == (3, 1)
    assert (page["nr_pages_mapped"], page["pincount"]) == (3, 7)
    # The low byte of its flags is an order: no flag.
    assert page["flags"] == []
    assert page["head_flags"] == ["lru", "head"]


def test_inside_a_free_block() -> None:
    memory = Memory(8, LAYOUT).free_block(0, 3)
    page = values(memory, 5)
    assert (page["use"], page["type"]) == ("buddy", "buddy")
    assert page["block"] == {"start": 0x1000, "order": 3}


def test_the_words_that_the_rule_read() -> None:
    memory = Memory(8, LAYOUT).compound(0, 2).word(0, 0xFFFFFFFF, 3)
    memory.set(0, LAYOUT.mapping, 0xFFFF888000001001).word(4, 3, 0)
    memory.set(5, 0, 1 << 13).word(5, 0xFFFFFFF0)
    raws = [why.raw if (why := describe(memory, i).get("why")) else None for i in (0, 1, 4, 5)]
    assert raws[:3] == [
        "reads mapping 0xffff888000001001",
        "reads mapping of the head 0xffff888000001001",
        "",
    ]
    # Those of the contradictions that it breaks.
    assert raws[3] == "reads page_type 0xfffffff0, compound 0x0"


def test_on_a_list_of_a_cpu() -> None:
    memory = Memory(8, LAYOUT)
    memory.pcp = PcpLists(np.array([0x1002]), np.array([1], np.uint8), np.array([3], np.uint16), 2)
    page = values(memory, 3)
    assert page["pcp"] == {"cpu": 3, "start": 0x1002, "order": 1}
    assert "pcp" not in values(memory, 4)


def test_slab_that_is_a_flag() -> None:
    memory = Memory(2, OLD).set(0, 0, 1 << 9)
    type_ = describe(memory, 0).get("type")
    assert type_ is not None
    assert type_.value == "slab"
    assert "but a page flag" in type_.rule


def test_unreadable() -> None:
    memory = Memory(2, LAYOUT)
    memory.readable = np.array([False, True])
    page = describe(memory, 0)
    assert not page.readable
    assert values(memory, 0)["use"] == "unreadable"


def test_report_lines_up_and_explains() -> None:
    pages = tuple(describe(Memory(2, LAYOUT).word(0, 0xF6000040, 1), i) for i in (0, 1))
    report = PageReport(Provenance("7.3", "core", "btf"), LAYOUT, pages, explain=True)
    table = report.view().table
    rows = list(table.rows)
    assert rows.count(("", "")) == 1
    widths = [max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)]
    assert widths[0] <= 17
    assert widths[1] <= 60
    assert [column.width for column in table.columns] == widths
    json = report.to_json()
    assert [p["pfn"] for p in json["pages"]] == [0x1000, 0x1001]
    assert "6e292b9be7f4" in json["pages"][0]["explain"]["word"]["rule"]


def test_no_text_is_cut_however_wide_it_is_shown() -> None:
    name = "\x1b[2J" * 40
    page = PageFacts(1, readable=True, facts=(Fact("file", name, name),))
    stream = StringIO()
    render(PageReport(Provenance("7.3", "core", "btf"), LAYOUT, (page,)), "table", stream)
    shown = stream.getvalue()
    assert shown.replace("\n", "").replace(" ", "").count("\\x1b[2J") == 40
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("text", "pfn"),
    [
        ("4096", 0x1000),
        ("0x1001", 0x1001),
        ("phys:0x1002fff", 0x1002),
        (f"page:{VMEMMAP + 0x1003 * SIZE:#x}", 0x1003),
    ],
)
def test_addresses(text: str, pfn: int) -> None:
    assert resolve_addresses([text], Program(), LAYOUT, MEMORY_MAP) == [pfn]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nonsense", "is not a page"),
        ("", "is not a page"),
        ("1-2", "is not a page"),
        ("0x_", "is not a page"),
        (f"{1 << 64}", "beyond 64 bits"),
        ("page:0x1000", "not a struct page of this kernel"),
        (f"page:{VMEMMAP + 8:#x}", "8 bytes after"),
        ("0x2000", "has a struct page"),
        ("phys:0x2000000", "has a struct page"),
        ("0xffff888000000000", "is an address, not a pfn"),
    ],
)
def test_addresses_that_are_none(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        resolve_addresses([text], Program(), LAYOUT, MEMORY_MAP)


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        (VMEMMAP + 0x1003 * SIZE, "it is the address of a struct page: write page:0x"),
        # Of a kernel that has its vmemmap elsewhere.
        (0xFFFFEA0000123440 ^ 1 << 40, "write page:0x"),
        (0xFFFF888000000000, "write page:0x"),
    ],
)
def test_an_address_that_is_given_as_a_pfn(address: int, hint: str) -> None:
    with pytest.raises(UsageError) as error:
        resolve_addresses([f"{address:#x}"], Program(), LAYOUT, MEMORY_MAP)
    assert error.value.hint.startswith(hint)
    assert f"page:{address:#x}" in error.value.hint


@pytest.mark.parametrize("layout", [LAYOUT, OLD])
def test_every_fact_has_what_was_read_and_a_rule(layout: PageLayout) -> None:
    memory = Memory(16, layout).compound(0, 2).free_block(8, 2)
    memory.set(4, layout.mapping, 0xFFFF888000000001).set(4, layout.memcg, 0xFFFF888000000040)
    for i in (0, 1, 4, 8, 9):
        facts = {fact.name: fact for fact in describe(memory, i).facts}
        for name in facts.keys() - {"pfn", "why", "section", "pcp", "block"}:
            assert facts[name].raw, (i, name)
            assert facts[name].rule, (i, name)


def test_values_are_not_broken_at_hyphens() -> None:
    words = ["page_owner-of-the-slab-cache", "0x1000-0x80000"] * 6
    facts = PageFacts(0x1000, readable=True, facts=(Fact("why", None, " ".join(words)),))
    stream = StringIO()
    render(PageReport(Provenance("7.3.4", "live", "btf"), LAYOUT, (facts,)), "table", stream)
    shown = stream.getvalue().split("----\n")[1]
    assert shown.split() == ["why", *words]
