# SPDX-License-Identifier: GPL-2.0-only
"""The check on struct pages made by hand: what it lists, keeps, confirms, shows and exits with."""

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
from places import DOCS
from synthetic import MODERN, OLD, SIZE, VMEMMAP, Memory

from pageinspect.analysis.counter_check import CounterCheck
from pageinspect.classify import Pages
from pageinspect.classify.contradictions import CONTRADICTIONS
from pageinspect.errors import Exit
from pageinspect.model.batch import FolioHeads
from pageinspect.model.layout import PageLayout
from pageinspect.model.memory_map import MemoryMap, PcpLists, Zone
from pageinspect.model.provenance import Provenance
from pageinspect.render import render
from pageinspect.report import Coverage
from pageinspect.report import check as module
from pageinspect.report.check import CheckReport, Findings, Violation, find, pages_to_reread

LAYOUTS = [MODERN, OLD]


def found(pages: Pages, *, live: bool = False) -> dict[str, list[int]]:
    where: dict[str, list[int]] = {}
    for violation in find([pages], live=live).violations:
        where.setdefault(violation.rule, []).append(violation.pfn - pages.batch.first)
    return where


def in_zones(memory: Memory, *zones: Zone) -> Pages:
    pages = memory.pages()
    pages.memory_map = MemoryMap(pages.memory_map.spanned, zones, pcp=memory.pcp)
    return pages


def test_every_rule_has_a_name_of_its_own_a_sentence_and_a_meaning() -> None:
    assert len({rule.name for rule in CONTRADICTIONS}) == len(CONTRADICTIONS)
    for rule in CONTRADICTIONS:
        assert rule.sentence.endswith(".")
        assert rule.cause.endswith(".")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m, i: m.word(i, 0xFFFFFFFF, 1),
        lambda m, i: m.word(i, 0, 0),
        lambda m, i: m.set(i, MODERN.mapping, 0xDEAD000000000400),
        lambda m, i: m.set(i, 56, 1),
        lambda m, i: m.set(i, 0, 1 << 5),
        lambda m, i: m.set(i, MODERN.compound, 0xDEAD000000000040),
    ],
)
def test_what_the_kernel_refuses_to_free_is_neither_in_a_block_nor_on_a_list(spoil) -> None:
    memory = Memory(32).free_block(0, 3)
    memory.pcp = PcpLists(np.array([0x1010]), np.array([1], np.uint8), np.array([0], np.uint16))
    assert found(memory.pages()) == {}
    spoil(memory, 5)
    spoil(memory, 0x10)
    rules = found(memory.pages())
    assert rules["in-use-inside-free-block"] == [5]
    assert rules["in-use-on-cpu-list"] == [0x10]
    # A running kernel's lists were read at another moment.
    assert "in-use-on-cpu-list" not in found(memory.pages(), live=True)


def test_order_of_a_free_block() -> None:
    memory = Memory(2048).free_block(0, 10)
    assert found(memory.pages()) == {}
    memory.free_block(0, 11)
    assert found(memory.pages()) == {"free-block-order": [0]}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_heads_and_their_tails(layout: PageLayout) -> None:
    memory = Memory(64, layout).compound(8, 2).compound(16, 3)
    assert found(memory.pages()) == {}
    memory.set(11, layout.compound, 0)
    assert found(memory.pages()) == {"head-without-tails": [8]}


def test_a_head_at_the_end_of_a_batch_may_reach_beyond() -> None:
    memory = Memory(8)
    memory.compound(6, 2)
    assert found(memory.pages()) == {}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_head_whose_order_goes_beyond_its_memory_section(layout: PageLayout) -> None:
    memory = Memory(1 << 15, layout, first=1 << 15).compound(8, 4).compound(16384, 15)
    assert found(memory.pages()) == {}
    # One tail less in this section; and a page that is no head, before a byte that reads as 16.
    memory.set(20000, layout.compound, 0)
    memory.set(24, 0, 1 << 6).set(25, layout.order.offset - 64, 16 << 8 * (layout.order.offset % 8))
    assert found(memory.pages()) == {"head-without-tails": [24, 16384]}


def test_a_head_alone() -> None:
    memory = Memory(8).set(3, 0, 1 << 6)
    assert found(memory.pages()) == {"head-without-tails": [3]}


def test_what_could_not_be_read_is_no_violation() -> None:
    memory = Memory(64).free_block(0, 3).compound(16, 3).compound(32, 3)
    readable = np.ones(64, np.bool_)
    for hole in (5, 18, 32):
        readable[hole] = False
        memory.words[hole] = 0
    memory.readable = readable
    assert found(memory.pages()) == {}
    assert find([memory.pages()], live=False).unreadable == 3


def test_a_folio_whose_beginning_could_not_be_read_is_no_violation() -> None:
    # The first tail has the order; the head of a gigantic folio lies in another memory section.
    memory = Memory(64).compound(16, 3)
    memory.readable = np.ones(64, np.bool_)
    memory.readable[17] = False
    memory.words[17] = 0
    assert found(memory.pages()) == {}
    memory = Memory(64).set(slice(0, 64), MODERN.compound, VMEMMAP + 0xE00 * SIZE + 1)
    unread = FolioHeads(np.zeros((1, 2 * SIZE // 8), np.uint64), np.zeros((1, 2), np.bool_))
    assert found(memory.pages(unread)) == {}
    assert set(found(memory.pages())) == {"tail-without-head"}


def test_zone_and_node_against_the_spans() -> None:
    zones = Zone(0, "DMA", 0x1000, 0x1010, 0), Zone(0, "DMA32", 0x1010, 0x1020, 1)
    memory = Memory(32)
    memory.set(slice(16, 32), 0, 1 << 51)
    assert found(in_zones(memory, *zones)) == {}
    memory.set(3, 0, 1 << 51)
    memory.set(20, 0, 1 << 51 | 5 << 54)
    # Reserved pages that no zone owns have whatever zone was next to them; device pages overlap.
    memory.set(7, 0, 5 << 51 | 1 << 13)
    memory.set(8, 0, 4 << 51)
    assert found(in_zones(memory, *zones)) == {"wrong-zone": [3], "wrong-node": [20]}
    assert found(memory.pages()) == {}


def test_only_what_was_asked_for_is_listed() -> None:
    memory = Memory(16).word(3, 0xFFFFFFF0, 1).word(9, 0xFFFFFFF0, 1)
    pages = memory.pages()
    wanted = np.zeros(16, np.bool_)
    wanted[8:12] = True
    pages.batch = replace(pages.batch, wanted=wanted)
    assert found(pages) == {"odd-word": [9]}


def test_no_more_than_a_cap_is_kept_but_all_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    memory = Memory(8)
    for i in range(5):
        memory.word(i, 0xFFFFFFF0, 1)
    findings = find([memory.pages(), memory.pages()], live=False)
    assert len(findings.violations) == 3
    assert findings.found == {"odd-word": 10}


def test_findings_of_parts_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    findings = Findings()
    for first in (0x1000, 0x2000):
        memory = Memory(8, first=first)
        memory.word(1, 0xFFFFFFF0, 1).word(2, 0xFFFFFFF0, 1).free_block(4, 2, 0xF0000001)
        memory.readable = np.array([True] * 7 + [False])
        findings.add(find([memory.pages()], live=False))
    kept = [(v.rule, v.pfn) for v in findings.violations]
    odd, low = "odd-word", "low-bits"
    assert kept == [(odd, 0x1001), (odd, 0x1002), (low, 0x1004), (odd, 0x2001), (low, 0x2004)]
    assert findings.found == {odd: 4, low: 2}
    assert findings.unreadable == 2


def test_only_what_is_broken_twice_is_a_violation() -> None:
    once = Findings([Violation("a", 1, ""), Violation("a", 2, ""), Violation("b", 2, "")])
    once.found = {"a": 2, "b": 1}
    again = Findings([Violation("a", 2, "now"), Violation("b", 1, "")], {"a": 1, "b": 1})
    both = once.confirmed(again)
    assert [(v.rule, v.pfn) for v in both.violations] == [("a", 2)]
    assert both.found == {"a": 1}
    assert pages_to_reread(once) == [(1, 2), (2, 3)]


def test_details_say_what_the_struct_page_says() -> None:
    memory = Memory(32).free_block(0, 3).set(5, 0, 1 << 5 | 1 << 51).compound(16, 2)
    memory.word(17, 0xF5000000)
    details = {v.pfn: v.detail for v in find([memory.pages()], live=False).violations}
    assert details[0x1005] == (
        "page_type 0xffffffff, refcount 0, mapping 0x0, compound 0x0, memcg 0x0, flags lru, "
        "node 0, zone 1, in the free block 0x1000 of order 3"
    )
    assert details[0x1011].endswith("tail of 0x1010")


VERIFIED = CounterCheck(
    "buddy", ("buddy",), "NR_FREE_PAGES", 1_000_000, 1_000_000, 1_000_000, "verified", ""
)
DIFFERS = CounterCheck("table", ("table",), "NR_PAGETABLE", 7, 8, 8, "differs", "-1: nothing known")
BROKEN = Findings(
    [Violation("odd-word", 0x1000 + i, "page_type 0xfffffff0") for i in range(12)], {"odd-word": 12}
)


def report(findings: Findings, *checks: CounterCheck, unreadable: int = 0) -> CheckReport:
    return CheckReport(
        Provenance("6.12.0", "core", "btf"), MODERN, Coverage(100, unreadable), findings, checks
    )


def rendered(checked: CheckReport, form: str) -> str:
    stream = io.StringIO()
    render(checked, form, stream)
    return stream.getvalue()


def test_exit_status_a_finding_before_incompleteness() -> None:
    assert report(Findings(), VERIFIED).status == Exit.COMPLETE
    assert report(Findings(), VERIFIED, unreadable=1).status == Exit.INCOMPLETE
    assert report(BROKEN, VERIFIED, unreadable=1).status == Exit.FINDING
    assert report(Findings(), DIFFERS).status == Exit.FINDING


def test_json_has_every_violation_and_every_counter_check() -> None:
    checked = json.loads(rendered(report(BROKEN, VERIFIED, DIFFERS), "json"))
    assert list(checked)[:1] == ["schema"]
    assert checked["violations"][0] == {
        "rule": "odd-word",
        "pfn": 0x1000,
        "detail": "page_type 0xfffffff0",
    }
    assert len(checked["violations"]) == checked["found"]["odd-word"] == 12
    assert checked["counters"][1] == {
        "name": "table",
        "uses": ["table"],
        "counter": "NR_PAGETABLE",
        "counted": 7,
        "before": 8,
        "kernel": 8,
        "verdict": "differs",
        "why": "-1: nothing known",
    }


def test_table_shows_a_few_pages_of_each_rule_within_80_columns() -> None:
    text = rendered(report(BROKEN, VERIFIED, DIFFERS), "table")
    assert max(map(len, text.splitlines())) <= 80
    assert "odd-word: The page_type word is not a type" in text
    assert "0x1009" in text
    assert "0x100a" not in text
    assert "- and 2 more: --format json" in text
    assert f"12 violations of {len(CONTRADICTIONS)} rules in 100 pages." in text
    assert "[1] table (NR_PAGETABLE): -1: nothing known." in text


def test_two_totals_with_one_reason_have_one_footnote() -> None:
    other = replace(DIFFERS, name="pcp", counter="sum of pcp->count")
    last = replace(DIFFERS, name="slab", counter="NR_SLAB", why="+2: another")
    text = rendered(report(Findings(), DIFFERS, other, last), "table")
    notes = [line.split()[-1] for line in text.splitlines() if line.split()[-2:-1] == ["differs"]]
    assert notes == ["[1]", "[1]", "[2]"]
    assert "[1] pcp (sum of pcp->count): -1: nothing known." in text
    assert "[2] slab (NR_SLAB): +2: another." in text


def test_both_numbers_of_a_running_kernel_are_shown() -> None:
    moved = CounterCheck(
        "pcp", ("pcp",), "sum", 5576, 6556, 8473, "explained", "-980 from 6,556: moved"
    )
    text = rendered(report(Findings(), VERIFIED, moved), "table")
    header, _, buddy, pcp = text.splitlines()[2:6]
    assert re.split(r"  +", header)[2:4] == ["kernel before", "kernel after"]
    assert buddy.split()[1:4] == ["1,000,000"] * 3
    assert pcp.split()[1:4] == ["5,576", "6,556", "8,473"]
    still = rendered(report(Findings(), VERIFIED), "table")
    assert "before" not in still
    assert re.split(r"  +", still.splitlines()[2])[1:3] == ["counted", "kernel"]


def test_csv_has_what_json_has() -> None:
    checked = report(BROKEN, VERIFIED, DIFFERS)
    rows = list(csv.DictReader(io.StringIO(rendered(checked, "csv"))))
    document = json.loads(rendered(checked, "json"))

    tables: dict[str, list[dict[str, str]]] = {"rules": [], "violations": [], "counters": []}
    for row in rows:
        tables[row.pop("table")].append(row)
    assert {row["rule"]: int(row["pages"]) for row in tables["rules"]} == document["found"]
    for name in ("violations", "counters"):
        for row, expected in zip(tables[name], document[name], strict=True):
            assert {key: row.pop(key) for key in expected} == {
                key: "+".join(value) if key == "uses" else str(value)
                for key, value in expected.items()
            }
            assert not any(row.values())


def test_why_no_checks() -> None:
    checked = replace(report(Findings()), counters=None, left_out="some reason")
    assert "Totals were not compared with the kernel's counters: some reason." in rendered(
        checked, "table"
    )
    assert json.loads(rendered(checked, "json"))["counters"] == []


def test_the_documentation_has_every_rule_as_it_is() -> None:
    text = (DOCS / "check.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| (.*) \| (.*) \|$", text, re.MULTILINE)
    table = [(name, sentence, meaning) for name, sentence, meaning in rows if "-" in name]
    rules = [(r.name, r.sentence, r.cause[0].upper() + r.cause[1:]) for r in CONTRADICTIONS]
    assert table == rules
