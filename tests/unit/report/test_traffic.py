# SPDX-License-Identifier: GPL-2.0-only
"""The report of trace --alloc, in each of its forms."""

import csv
import io
import json

import pytest
from traffic_by_hand import ADDRESSES, SECOND, SOURCES, traffic, traffic_counts

from pageinspect.render import render
from pageinspect.report.traffic import TrafficReport
from pageinspect.trace.held_blocks import STACK_BITS
from pageinspect.trace.kinds import UNTYPED
from pageinspect.trace.traffic_counts import ALLOCATED, FREED, TrafficLost


def text(of: TrafficReport, form: str = "table") -> str:
    stream = io.StringIO()
    render(of, form, stream)
    return stream.getvalue()


def words(of: TrafficReport) -> str:
    return " ".join(text(of).split())


def test_both_sides_are_of_whoever_called_the_allocator() -> None:
    rows = traffic().rows
    assert [
        (row.key, row.allocations, row.allocated, row.frees, row.freed, row.freed_as)
        for row in rows
    ] == [
        (("open\x1b",), 6, 20, 6, 6, {"untyped": 6}),
        (("use [driver]",), 8, 8, 4, 5, {"anonymous": 3, "table": 2}),
    ]


def test_callers_that_were_found_join_those_of_stacks() -> None:
    found = 0x50 << STACK_BITS
    counts = traffic_counts(
        (8, {"side": ALLOCATED, "stack": 1}),
        (2, {"side": ALLOCATED, "stack": -1, "caller": 0x50}),
        (3, {"side": FREED, "stack": -1, "caller": 0x50, "kind": UNTYPED}),
        (1, {"side": FREED, "stack": 4, "kind": UNTYPED}),
    )
    rows = traffic(counts, addresses=ADDRESSES | {found: [5]}).rows
    assert [(row.key, row.allocations, row.frees) for row in rows] == [
        (("use [driver]",), 10, 3),
        (("open\x1b",), 0, 1),
    ]


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        (("comm",), [("cat",), ("sh",), ("rcu",)]),
        (("pid", "order"), [(6, 3), (5, 0), (6, 0), (7, 1)]),
        (("gfp",), [("__GFP_IO",), ("GFP_KERNEL",), (None,)]),
        (("migratetype", "comm"), [("movable", "cat"), ("unmovable", "sh")]),
        (
            ("stack",),
            [
                (("__alloc_frozen_pages_noprof", "new_slab", "alloc_pages_noprof", "open\x1b"),),
                (("__alloc_frozen_pages_noprof", "alloc_pages_noprof", "use [driver]"),),
                (("__free_pages", "open\x1b"),),
                (("__free_pages", "use [driver]"),),
            ],
        ),
    ],
)
def test_by_other_keys(by: tuple[str, ...], keys: list[tuple[object, ...]]) -> None:
    found = [row.key for row in traffic(by=by).rows]
    assert found[: len(keys)] == keys


def test_a_free_has_no_gfp_flags() -> None:
    (last,) = [row for row in traffic(by=("gfp", "comm")).rows if row.key == (None, "sh")]
    assert (last.allocations, last.frees, last.freed) == (0, 3, 3)
    rows = json.loads(text(traffic(by=("gfp",)), "json"))["rows"]
    assert [row["key"] for row in rows] == [["__GFP_IO"], ["GFP_KERNEL"], [None]]


def test_people_see_numbers_in_a_second() -> None:
    shown = words(traffic())
    assert "open\\x1b 3 10 3 3 +7" in shown
    assert "use [driver] 4 4 2 2 +2" in shown
    assert "total 7 14 5 6 +8" in shown
    assert "untyped 3 anonymous 2 table 1" in shown
    assert "Seen: 14 allocations of 28 pages, and 10 frees of 11 pages." in shown
    assert "At least" not in shown


def test_the_first_rows_and_the_sum_of_the_others() -> None:
    shown = words(traffic(top=1))
    assert "open\\x1b 3 10 3 3 +7 1 more row 4 4 2 2 +2 total 7 14 5 6 +8" in shown
    found = json.loads(text(traffic(top=1), "json"))
    assert len(found["rows"]) == 1
    assert found["more_rows"] == {"count": 1, "allocated_pages": 8, "freed_pages": 5}
    assert "more_rows" not in json.loads(text(traffic(top=2), "json"))


def test_the_document_has_counts() -> None:
    found = json.loads(text(traffic(), "json"))
    assert found["duration_ns"] == 2 * SECOND
    assert found["allocated"] == {"allocations": 14, "pages": 28}
    assert found["freed"] == {
        "frees": 10,
        "pages": 11,
        "as": {"untyped": 6, "anonymous": 3, "table": 2},
    }
    assert (found["at_least"], found["lost"], found["sees_bulk"]) == (False, 0, True)
    assert found["rows"][1] == {
        "key": ["use [driver]"],
        "allocations": 8,
        "allocated_pages": 8,
        "frees": 4,
        "freed_pages": 5,
        "net_pages": 3,
        "freed_as": {"anonymous": 3, "table": 2},
    }
    assert found["vmstat"] == {"pgalloc": 29, "pgfree": 11, "allocated": 28, "freed": 11}


def test_what_is_lost_makes_the_numbers_a_least() -> None:
    lost = TrafficLost(missed_allocations=2, sources=3, bulk=1)
    report = traffic(traffic_counts(*SOURCES, lost=lost))
    shown = words(report)
    assert "At least these allocations and frees a second" in shown
    assert (
        "Lost: 2 allocations while the tracer's own program ran on the same CPU, 3 events" in shown
    )
    assert "1 calls of the bulk allocator" in shown
    assert not report.complete
    rows = list(csv.DictReader(io.StringIO(text(report, "csv"))))
    assert (rows[-1]["caller"], rows[-1]["allocations"], rows[-1]["frees"]) == ("lost", "6", "")


def test_a_bulk_allocator_that_is_not_seen() -> None:
    report = traffic(traffic_counts(*SOURCES, sees_bulk=False))
    assert not report.complete
    assert "Pages of the bulk allocator were not seen" in words(report)
    assert traffic().complete


def test_reports_of_intervals() -> None:
    first = traffic(times=(0, SECOND), interval=True)
    second = traffic(times=(SECOND, 3 * SECOND), interval=True)
    assert "in each interval" in words(first)
    assert "in the 2.00 s before 3.00 s" in words(
        traffic(times=(SECOND, 3 * SECOND), interval=True, redrawn=True)
    )
    assert not text(second).strip().startswith("Linux")
    assert "open\\x1b 6 20 6 6 +14" in words(first)
    row = json.loads(text(second, "jsonl").splitlines()[0])
    assert (row["start_ns"], row["end_ns"], row["allocations"]) == (SECOND, 3 * SECOND, 6)


def test_stacks_are_below_the_table() -> None:
    shown = text(traffic(by=("stack",)))
    assert "Stack 3:\n    __free_pages\n    open\\x1b\n" in shown


def test_sentences_are_whole_in_markdown() -> None:
    paragraphs = text(traffic(), "markdown").split("\n\n")
    assert any(p.endswith("with their pages, by who allocated and who freed.") for p in paragraphs)
    assert any(p.startswith("Seen:") and p.endswith(".") for p in paragraphs)


def test_the_row_of_what_was_lost_is_not_cut_into_letters() -> None:
    lost = traffic_counts(*SOURCES, lost=TrafficLost(sources=3))
    rows = text(traffic(lost, by=("stack",)), "csv").splitlines()
    assert rows[-1].startswith("lost,3,")


def test_nothing_happened() -> None:
    report = traffic(traffic_counts())
    assert report.rows == ()
    assert "Seen: 0 allocations of 0 pages, and 0 frees of 0 pages." in words(report)
