# SPDX-License-Identifier: GPL-2.0-only
"""Listings: runs joined across batches, filters, and rows that stream."""

import io
import json
import tracemalloc
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from synthetic import MODERN, Memory

from pageinspect.analysis.counter_check import CounterCheck
from pageinspect.analysis.page_facts.describe import describe_page
from pageinspect.classify import Pages, codes_of
from pageinspect.model.provenance import Provenance
from pageinspect.render import render
from pageinspect.report import listing
from pageinspect.report.listing import PagesListing, Runs, RunsListing, entries_of, runs_of
from pageinspect.report.selection import Selection
from pageinspect.report.summary import count, summarise

ALL = Selection(32, 0x1020)
FROM = Provenance("7.3.4-test", "core", "btf")


def batches() -> Iterator[Pages]:
    """Yield two batches that touch: a slab folio, references on both sides of the border, more."""
    left = Memory(16, first=0x1000).compound(4, 2).word(4, 0xF5000000)
    for i in range(12, 16):
        left.word(i, 0xFFFFFFFF, 1)
    right = Memory(16, first=0x1010)
    for i in range(3):
        right.word(i, 0xFFFFFFFF, 2)
    right.free_block(8, 3)
    yield left.pages()
    yield right.pages()


def runs(selection: Selection, batches: Iterable[Pages]) -> Iterator[Runs]:
    """Yield the runs of each batch, as parts of their own."""
    return (runs_of(selection, [pages]) for pages in batches)


def listed(kind: type, form: str, selection: Selection = ALL) -> str:
    stream = io.StringIO()
    parts = (
        [entries_of(selection, batches())] if kind is PagesListing else runs(selection, batches())
    )
    render(kind(FROM, MODERN, selection, parts), form, stream)
    return stream.getvalue()


def test_runs_join_across_batches() -> None:
    document = json.loads(listed(RunsListing, "json"))
    runs = [(r["start"], r["end"], r["use"], r["type"], r["order"]) for r in document["runs"]]
    assert runs == [
        (0x1000, 0x1004, "idle", "untyped", 0),
        (0x1004, 0x1008, "slab", "slab", 2),
        (0x1008, 0x100C, "idle", "untyped", 0),
        (0x100C, 0x1013, "kernel", "untyped", 0),
        (0x1013, 0x1018, "idle", "untyped", 0),
        (0x1018, 0x1020, "buddy", "buddy", 3),
    ]
    assert document["coverage"] == {
        "spanned": 32,
        "read": 32,
        "unreadable": 0,
        "unsupported": [],
    }


def test_a_selection_leaves_the_rest_out() -> None:
    selection = Selection(32, 0x1020, types=codes_of(MODERN, "slab"))
    (run,) = json.loads(listed(RunsListing, "json", selection))["runs"]
    assert (run["start"], run["pages"]) == (0x1004, 4)
    none = Selection(32, 0x1020, types=codes_of(MODERN, "guard"))
    assert json.loads(listed(RunsListing, "json", none))["runs"] == []
    assert "No page matches." in listed(RunsListing, "table", none)
    assert listed(RunsListing, "csv", none).splitlines() == ["start,end,use,type,order,pages,bytes"]


def test_each_page_has_its_word_and_flags() -> None:
    pages = json.loads(listed(PagesListing, "json"))["pages"]
    assert len(pages) == 32
    assert pages[4] == {
        "pfn": 0x1004,
        "use": "slab",
        "type": "slab",
        "word": "0xf5000000",
        "refcount": 0,
        "order": 2,
        "flags": ["head"],
    }


@pytest.mark.parametrize("kind", [RunsListing, PagesListing])
def test_streamed_columns_line_up_at_80_columns(kind: type) -> None:
    lines = listed(kind, "table").splitlines()[2:-2]
    assert max(map(len, lines)) <= 80
    ends = [i for i, c in enumerate(lines[1]) if c == "-" and lines[1][i + 1 : i + 2] in (" ", "")]
    for line in lines[2:]:
        assert all(line[end + 1 : end + 3].strip() == "" for end in ends[:-1]), line


def test_rows_come_as_the_walk_does() -> None:
    taken: list[int] = []

    def counted() -> Iterator[Pages]:
        for pages in batches():
            taken.append(len(pages))
            yield pages

    rows = RunsListing(FROM, MODERN, ALL, runs(ALL, counted())).view().table.rows
    next(iter(rows))
    assert taken == [16]
    assert np.sum(taken) < 32


@pytest.mark.parametrize("form", ["csv", "jsonl", "markdown", "table"])
def test_rows_are_written_as_the_walk_goes_on(form: str) -> None:
    taken: list[int] = []

    class Stream(io.StringIO):
        taken_at_row = 0

        def write(self, text: str) -> int:
            if "slab" in text and not self.taken_at_row:
                self.taken_at_row = len(taken)
            return super().write(text)

        def writelines(self, lines: Iterable[str]) -> None:
            for line in lines:
                self.write(line)

    def counted() -> Iterator[Pages]:
        for pages in batches():
            taken.append(len(pages))
            yield pages

    stream = Stream()
    render(RunsListing(FROM, MODERN, ALL, runs(ALL, counted())), form, stream)
    assert (stream.taken_at_row, len(taken)) == (1, 2)


def test_what_could_not_be_read_has_no_word_zone_or_node() -> None:
    memory = Memory(4)
    memory.readable = np.array([True, False, True, True])
    pages = memory.pages()
    stream = io.StringIO()
    selection = Selection(4, 0x1004)
    listing = PagesListing(FROM, MODERN, selection, [entries_of(selection, [pages])])
    render(listing, "json", stream)
    document = json.loads(stream.getvalue())
    assert document["pages"][1] == {
        "pfn": 0x1001,
        "use": "unreadable",
        "type": "unreadable",
        "word": None,
        "refcount": None,
        "order": None,
        "flags": [],
    }
    assert document["coverage"]["unreadable"] == 1
    by = ["zone", "node"]
    counts = count(MODERN, Selection(4), by, [pages])
    report = summarise(FROM, MODERN, pages.memory_map, Selection(4), by, counts)
    assert {row.key: row.pages for row in report.rows} == {
        ("zone 0", "0"): 3,
        ("unreadable", "unreadable"): 1,
    }


def test_a_zone_number_that_is_no_zones_is_explained() -> None:
    memory = Memory(4).set(1, 0, 5 << 51 | 1 << 13).set(2, 0, 1 << 51).set(3, 0, 6 << 51)
    pages = memory.pages()
    names = ("DMA", "DMA32", "Normal", "Movable", "Device")
    pages.memory_map = replace(pages.memory_map, zone_names=names)

    def remarks(*by: str) -> tuple[str, ...]:
        counts = count(MODERN, Selection(4), by, [pages])
        return summarise(FROM, MODERN, pages.memory_map, Selection(4), by, counts).remarks

    reserved, damaged = remarks("use", "zone")
    assert reserved.startswith("zone 5: No zone spans these pages: firmware")
    assert damaged.startswith("zone 6: ")
    assert remarks("use") == ()
    zone = describe_page(pages, 1, None).get("zone")
    assert zone is not None
    assert (zone.value, zone.text) == ("zone 5", reserved)
    ordinary = describe_page(pages, 2, None).get("zone")
    assert ordinary is not None
    assert ordinary.text == "DMA32"


def test_the_last_line_of_a_summary_leads_to_check_where_a_total_differs() -> None:
    counts = count(MODERN, ALL, ["use"], batches())
    plain = summarise(FROM, MODERN, Memory(1).pages().memory_map, ALL, ["use"], counts)
    sound = CounterCheck("table", ("table",), "NR_PAGETABLE", 8, 8, 8, "verified", "")
    wrong = replace(sound, counted=7, verdict="differs")
    assert "check" not in "".join(replace(plain, counters=(sound,)).view().lines_after())
    last = replace(plain, counters=(sound, wrong)).view().lines_after()[-1]
    assert last == (
        "A total differs from the kernel's counter: run `pageinspect check` on the same kernel."
    )


def test_the_order_in_a_first_tail_is_no_flag() -> None:
    memory = Memory(512)
    memory.compound(0, 9)
    stream = io.StringIO()
    selection = Selection(512, 0x1200)
    parts = [entries_of(selection, [memory.pages()])]
    render(PagesListing(FROM, MODERN, selection, parts), "json", stream)
    pages = json.loads(stream.getvalue())["pages"]
    assert [page["flags"] for page in pages[:3]] == [["head"], [], []]
    assert pages[1]["order"] == 9


def test_memory_does_not_grow_with_the_runs_of_a_part() -> None:
    def peak(n: int) -> int:
        starts = np.arange(n)
        part = Runs(np.stack((starts, starts + 1, starts % 2, starts % 3, starts % 4)), 0)
        tracemalloc.start()
        try:
            assert sum(1 for _ in listing._joined([part])) == n
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(16 * listing._BLOCK) < 1.15 * peak(4 * listing._BLOCK)
