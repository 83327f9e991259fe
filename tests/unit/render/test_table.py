# SPDX-License-Identifier: GPL-2.0-only
"""Every table with the largest numbers and the longest names: 80 columns, and they line up."""

import io
import itertools
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest
from outstanding_by_hand import outstanding
from synthetic import MODERN, OLD, Memory

from pageinspect.analysis.contiguity import Spread, TypeBlocks, ZoneBlocks, free_indexes
from pageinspect.analysis.counter_check import CounterCheck
from pageinspect.analysis.page_facts.facts import Fact, PageFacts
from pageinspect.classify import Pages
from pageinspect.model.memory_map import Zone
from pageinspect.model.provenance import Provenance
from pageinspect.model.table import Column
from pageinspect.render import render
from pageinspect.render.formats.table import _wrapped
from pageinspect.report import Coverage, Report
from pageinspect.report.check import CheckReport, Findings, Violation
from pageinspect.report.contiguity import BlockerRow, ContiguityReport
from pageinspect.report.dimensions import DIMENSIONS
from pageinspect.report.frees import Frees
from pageinspect.report.kernels import GuestKernel, KernelsReport
from pageinspect.report.listing import PagesListing, RunsListing, entries_of, runs_of
from pageinspect.report.obstacles import ObstacleRow, ObstaclesReport
from pageinspect.report.page import PageReport
from pageinspect.report.selection import Selection
from pageinspect.report.summary import SummaryReport, SummaryRow
from pageinspect.report.trace import TraceReport, TypeFrees
from pageinspect.report.trace_subject import TraceSubject
from pageinspect.report.types import TypesReport
from pageinspect.trace.records import Lost

PAGES = 1 << 34
FROM = Provenance("7.3.4+deb13-cloud-amd64-with-a-long-local-name", "core", "btf")
NAMES = {
    "type": ["large_kmalloc", "kmemcg+table", "- movable_ops"],
    "use": ["large_kmalloc", "zone_device", "unreadable"],
    "zone": ["DMA32", "Normal", "Movable"],
    "node": ["0", "1023"],
    "order": ["0", "10"],
    "owner": ["large_kmalloc", "unreadable"],
}
LONG = "buffer_head(1234:a-container-with-a-name-that-never-ends.service)" * 3


@pytest.fixture(autouse=True)
def _narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def lines_of(report: Report) -> list[str]:
    stream = io.StringIO()
    render(report, "table", stream)
    return stream.getvalue().splitlines()


def assert_lines_up(lines: list[str]) -> None:
    """Hold every line to 80 columns, and every row to the columns of the rule under the header."""
    rule = next(i for i, line in enumerate(lines) if re.fullmatch(r"-+(  -+)*", line))
    gaps = [match.start() for match in re.finditer("  ", lines[rule])]
    rows = list(itertools.takewhile(bool, lines[rule - 1 :]))
    assert len(rows) > 2
    for row in rows:
        assert all(row[gap : gap + 2].strip() == "" for gap in gaps), row
    assert max(map(len, lines)) <= 80


def rows_by(by: tuple[str, ...]) -> tuple[SummaryRow, ...]:
    split = (("movable_ops", PAGES), ("mapped", 1))
    return tuple(
        SummaryRow(key, PAGES, PAGES, "0x40000000", split if by == ("type",) else ())
        for key in itertools.product(*(NAMES[name] for name in by))
    )


COMBINATIONS = [by for n in (1, 2, 3, 6) for by in itertools.combinations(DIMENSIONS, n)]


@pytest.mark.parametrize("by", COMBINATIONS, ids="-".join)
def test_summary(by: tuple[str, ...]) -> None:
    check = CounterCheck(
        "slab",
        ("slab", "large_kmalloc"),
        "NR_SLAB_RECLAIMABLE_B + NR_SLAB_UNRECLAIMABLE",
        PAGES,
        PAGES - 2,
        PAGES - 1,
        "explained",
        "why",
    )
    report = SummaryReport(FROM, MODERN, Coverage(PAGES, PAGES), by, rows_by(by), PAGES, (check,))
    lines = lines_of(report)
    assert_lines_up(lines)
    assert f"{PAGES:,}" in "".join(lines)
    if len(by) <= 2:
        assert "folios" in "".join(lines)


def test_a_zone_with_a_long_name() -> None:
    rows = (SummaryRow((LONG,), PAGES, PAGES), SummaryRow(("DMA",), 1, 1))
    lines = lines_of(SummaryReport(FROM, MODERN, Coverage(PAGES, 0), ("zone",), rows, 0))
    assert_lines_up(lines)
    assert LONG in "".join(line.split()[0] for line in lines if line and line[0] in LONG)


def batches(first: int, layout=MODERN) -> Iterator[Pages]:
    # More words at once than any sound page has.
    words = (0xF8000000, 0xFFFFFFFF, 0xF6000001) if layout is MODERN else (0xF0000000, 0xFFFFFDFF)
    memory = Memory(len(words), layout, first)
    for i, word in enumerate(words):
        memory.word(i, word, 0x80000000)
    yield memory.pages()


@pytest.mark.parametrize("kind", [RunsListing, PagesListing])
@pytest.mark.parametrize("layout", [MODERN, OLD])
@pytest.mark.parametrize("first", [0x1000, 0x3FFFFFFF0, (1 << 36) - 16])
def test_lists(kind, layout, first: int) -> None:
    last = first + 3
    selection = Selection(PAGES, last)
    part_of = runs_of if kind is RunsListing else entries_of
    listing = kind(FROM, layout, selection, [part_of(selection, batches(first, layout))])
    assert_lines_up(lines_of(listing))


def test_list_of_a_run_as_long_as_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    run = [0, PAGES, 0xF8, 0xF8, 10]
    monkeypatch.setattr("pageinspect.report.listing._joined", lambda *_: iter([run]))
    lines = lines_of(RunsListing(FROM, MODERN, Selection(PAGES, PAGES), ()))
    assert_lines_up(lines)
    assert f"{PAGES:,}" in lines[4]


def test_page() -> None:
    facts = (Fact("pfn", 1, f"{PAGES:#x}"), Fact("slab_cache", LONG, LONG), Fact("x", 1, "y"))
    report = PageReport(FROM, MODERN, (PageFacts(1, readable=True, facts=facts),))
    lines = lines_of(report)
    assert_lines_up(lines)
    assert LONG in "".join(line[10:].strip() for line in lines if line)


def test_check() -> None:
    names = ["in-use-inside-free-block", "free-but-referenced"]
    findings = Findings(
        [Violation(name, PAGES, "page_type 0xffffffff, " * 8) for name in names],
        dict.fromkeys(names, PAGES),
    )
    checks = tuple(
        CounterCheck(
            name, (name,), "NR_X", PAGES, i, PAGES, "explained", f"-{PAGES:,}: {i} of them " * 5
        )
        for i, name in enumerate(["movable_ops", "hugetlb"] * 6)
    )
    assert_lines_up(lines_of(CheckReport(FROM, MODERN, Coverage(PAGES, PAGES), findings, checks)))


@pytest.mark.parametrize("layout", [MODERN, OLD])
def test_types(layout) -> None:
    assert_lines_up(lines_of(TypesReport(FROM, layout)))


@pytest.mark.parametrize("interval", [False, True])
def test_trace(interval: bool) -> None:
    frees = Frees(tuple(PAGES >> order for order in range(11)))
    typed = tuple(TypeFrees(name, False, frees) for name in ("large_kmalloc", "kmemcg+table"))
    hours = 360_000_000_000_000
    report = TraceReport(
        TraceSubject(FROM, MODERN, interval=interval),
        hours if interval else 0,
        2 * hours,
        typed,
        None,
        frees,
        None,
        None,
        None,
        Frees(),
        Lost(PAGES, PAGES),
        None,
    )
    lines = lines_of(report)
    if interval:
        lines = lines[1:]
    assert_lines_up(lines)


def test_vm_list() -> None:
    kernels = tuple(
        GuestKernel(
            name,
            "bookworm-backports",
            "6.12",
            "6.12.117+deb13-cloud-amd64",
            999 << 30,
            True,
            "what it proves " * 5,
        )
        for name in ("6.1", "bookworm-backports-6.12")
    )
    assert_lines_up(lines_of(KernelsReport(kernels)))


def contiguity(nodes: int, name: str) -> ContiguityReport:
    """Return the report of large zones, in as many nodes."""
    zones = [Zone(node, "Movable", 0, PAGES, 3) for node in range(nodes)]
    spread = Spread(512, 1 << 18, 1 << 18)
    pages = PAGES // nodes
    blocks = pages >> 9
    return ContiguityReport(
        *(FROM, MODERN, Coverage(PAGES, PAGES), 9, 9),
        blocks=tuple(
            ZoneBlocks(z.node, z.name, 9, *[blocks] * 7, spread, spread, spread) for z in zones
        ),
        indexes=tuple(row for zone in zones for row in free_indexes(zone, [0] * 10 + [blocks])),
        types=tuple(
            TypeBlocks(zone.node, zone.name, kind, blocks, (pages,) * 5)
            for zone in zones
            for kind in ("reclaimable", "highatomic")
        ),
        blockers=tuple(
            BlockerRow("large_kmalloc", name, remedy, PAGES, blocks, blocks, PAGES)
            for remedy in ("shrink pool", "")
        ),
        uses=(BlockerRow("large_kmalloc", "", "reclaim", PAGES, blocks, blocks, PAGES),),
    )


@pytest.mark.parametrize("name", ["kmalloc-cg-4k", "mempool integrity_buf_pool", LONG])
@pytest.mark.parametrize("nodes", [1, 64])
def test_contiguity(nodes: int, name: str) -> None:
    lines = lines_of(contiguity(nodes, name))
    commands = [line for line in lines if line.startswith("    pageinspect list -c CORE --owner ")]
    assert len(commands) == 1
    lines.remove(commands[0])
    assert max(map(len, lines)) <= 80
    zones = {"Movable"} if nodes == 1 else {f"{node}/Movable" for node in range(nodes)}
    shown = [line for line in lines if "Movable" in line]
    assert {line.split()[0] for line in shown} == zones
    headers = [line.split() for line in lines if line.startswith(("zone", "kind", "use"))]
    for heading in ("unmovable", "movable", "alone", "name", "fragmentation"):
        assert any(heading in header for header in headers), heading


@pytest.mark.parametrize("name", ["kmalloc-cg-4k", "mempool integrity_buf_pool", LONG])
def test_pages_in_the_way(name: str) -> None:
    rows = tuple(
        ObstacleRow(
            None, PAGES, PAGES + 512, "large_kmalloc", "processes", name, 9, 99999, 1000, 1000, 3,
            "unpin",
        )
        for _ in range(3)
    )  # fmt: skip
    counts = (0, 0, 0, 3 * 512, 0, 0, 0)
    lines = lines_of(ObstaclesReport(FROM, MODERN, Coverage(9, 0), "pfn:0-9", counts, 0, rows))
    assert_lines_up(lines)
    (header,) = [line.split() for line in lines if "pages  use" in line]
    assert {"start", "pages", "use", "name", "pins", "extra", "remedy"} <= set(header)
    assert "end" not in header


def test_owners_of_outstanding_pages_are_readable_in_80_columns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caller, owner = "leak_by_one_page [leak_by_callers]", "unknown:kernel, order 0, 1 reference"
    made = outstanding()
    row = made.rows[0]._replace(key=(caller,), pages=PAGES, now={owner: PAGES, LONG: 1})
    lines = lines_of(replace(made, rows=(row, *made.rows[1:])))
    assert_lines_up(lines)
    header = next(line for line in lines if line.startswith("caller"))
    assert header.split() == ["caller", "pages", "size", "now"]
    assert header.index("pages") >= 20
    assert lines[lines.index(header) + 1].split("  ")[-1].count("-") >= 24
    # On a wide terminal the text of owners is wrapped before a column is dropped.
    monkeypatch.setenv("COLUMNS", "125")
    (header,) = (line for line in lines_of(replace(made, rows=(row,))) if line.startswith("caller"))
    assert "order:allocations" in header


def broken(*columns: Column) -> list[int]:
    """Return the widths of columns with one long word each."""
    rows = _wrapped(columns, [["x" * 60] * len(columns)], [60] * len(columns))
    return [max(map(len, cell.splitlines())) for cell in rows[0]]


def test_columns_with_a_least_width_are_narrower_only_if_nothing_else_helps() -> None:
    assert broken(Column("a"), Column("b", least=50)) == [28, 50]
    widths = broken(*(Column(name, least=40) for name in "abc"))
    assert sum(widths) + 4 == 80
