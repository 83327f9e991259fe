# SPDX-License-Identifier: GPL-2.0-only
"""What the report of trace --outstanding says, in each of its forms."""

import csv
import io
import json
from dataclasses import replace

import pytest
from held_by_hand import SECOND, blocks
from outstanding_by_hand import ADDRESSES, NAMES, outstanding

from pageinspect.render import render
from pageinspect.report import outstanding_rows
from pageinspect.report.allocation_keys import KeyNames, keys_of
from pageinspect.report.outstanding import OutstandingReport
from pageinspect.trace.held_blocks import (
    STACK_BITS,
    HeldCounts,
    Missed,
)
from pageinspect.trace.stacks import ALLOCATING_PATH, Stacks


def text(of: OutstandingReport, form: str = "table") -> str:
    stream = io.StringIO()
    render(of, form, stream)
    return stream.getvalue()


def test_pages_are_those_of_whoever_called_the_allocator() -> None:
    rows = outstanding().rows
    assert [(row.key, row.allocations, row.pages, row.orders) for row in rows] == [
        (("open\x1b",), 2, 9, {"1": 1, "3": 1}),
        (("leak [driver]",), 2, 2, {"0": 2}),
    ]
    assert [row.oldest_ns for row in rows] == [3 * SECOND, SECOND]


def test_a_caller_that_was_found_joins_those_of_stacks() -> None:
    found = 0x50 << STACK_BITS
    held = blocks(
        (0x10, 0, {"stack": 1}),
        (0x11, 0, {"stack": -1, "caller": 0x50}),
        (0x12, 0, {"stack": -1}),
    )
    stacks = Stacks((ADDRESSES | {found: [5]}).__getitem__, NAMES.__getitem__, ALLOCATING_PATH)
    ((number, values),) = keys_of(
        held.orders, held.records, held.callers, ("caller",), KeyNames(stacks)
    )
    assert [values[i] for i in number] == ["leak [driver]", "leak [driver]", "[stack lost]"]


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        (("pid",), [(6,), (5,)]),
        (("comm",), [("cat",), ("sh",), ("",)]),
        (("order", "pid"), [(3, 6), (0, 5), (1, 6)]),
        (("migratetype",), [("movable",), ("unmovable",), ("bulk",)]),
        (("gfp",), [("0x0",), ("GFP_KERNEL",)]),
        (
            ("stack",),
            [
                (("__alloc_frozen_pages_noprof", "new_slab", "alloc_pages_noprof", "open\x1b"),),
                (("__alloc_frozen_pages_noprof", "alloc_pages_noprof", "leak [driver]"),),
                (
                    (
                        *("__alloc_frozen_pages_noprof", "alloc_pages_noprof"),
                        *("leak [driver]", "open\x1b"),
                    ),
                ),
            ],
        ),
    ],
)
def test_each_key_groups_by_itself(by: tuple[str, ...], keys: list[tuple[object, ...]]) -> None:
    made = outstanding(by=by)
    assert [row.key for row in made.rows] == keys
    assert made.pages == 11


def test_what_they_are_now_is_named_the_largest_first() -> None:
    found = {f"p{0x20 + i:x}": ("slab", i // 2) for i in range(8)} | {"p27": ("slab", 9)}
    row, other = outstanding(found=found).rows
    assert other.now == {"unknown": 2}
    assert list(row.now.items())[-1] == ("others", 4)
    assert row.now == {"slab:cache-0": 2, "slab:cache-1": 2, "slab:cache-2": 2, "others": 4}


def test_owners_with_one_name_are_added_up_before_the_largest_are_chosen() -> None:
    found = {f"p{0x20 + i:x}": ("anon", i) for i in range(4)}
    found |= {f"p{0x24 + i:x}": ("slab", i // 2) for i in range(4)}
    row, _ = outstanding(found=found).rows
    assert list(row.now.items()) == [
        ("anon", 4),
        ("slab:cache-0", 2),
        ("slab:cache-1", 2),
        ("others", 2),
    ]


def test_no_more_names_are_read_than_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outstanding_rows, "_MOST_NAMED", 1)
    found = {f"p{0x20 + i:x}": ("slab", max(i, 5)) for i in range(8)}
    row, other = outstanding(found=found).rows
    assert row.now == {"slab:cache-5": 6, "others": 4}
    assert other.now == {"others": 2}


def test_pages_that_are_free_now_are_in_no_row() -> None:
    free = ("free", 0)
    made = outstanding(found={"p10": free, "p11": free, "p21": free, "p30": free})
    # Of 0x30, one page was seen freed.
    assert made.found_free == 3
    assert outstanding(found={"p40": free}).found_free == 0
    said = text(made).splitlines()
    assert "Free now: 3 pages, freed after the trace ended or without being seen." in said
    assert [(row.key[0], row.allocations, row.pages) for row in made.rows] == [("open\x1b", 2, 8)]
    assert made.rows[0].now == {"unknown": 8}


def test_pages_of_the_tracer_are_counted_apart() -> None:
    assert outstanding().own == 1


def test_only_old_allocations_can_be_asked_for() -> None:
    assert [row.pages for row in outstanding(older=2.0).rows] == [8]
    assert outstanding(older=5.0).rows == ()
    assert "No page is outstanding." in text(outstanding(older=5.0))


def test_an_allocation_after_the_end_has_no_age() -> None:
    late = blocks((0x10, 0, {"stack": 1, "time_ns": 11 * SECOND}))
    assert [row.oldest_ns for row in outstanding(late).rows] == [0]
    assert outstanding(late, older=1.0).rows == ()


def test_lost_frees_make_it_at_most() -> None:
    made = outstanding(missed=Missed(0, 1), counts=HeldCounts(stacks=4))
    assert made.lost.total == 5
    assert not made.complete
    said = " ".join(text(made).split())
    assert "At most these pages were allocated in 2.00 s and not freed, by who" in said
    assert "Lost: 1 free while the tracer's own program ran on the same CPU, 4 stacks, as" in said
    assert "Incomplete" not in said
    document = json.loads(text(made, "json"))
    assert (document["at_most"], document["incomplete"]) == (True, False)


def test_lost_allocations_make_it_incomplete() -> None:
    full = HeldCounts(full=1518)
    made = outstanding(missed=Missed(1, 0), counts=full)
    assert not made.complete
    said = " ".join(text(made).split())
    assert "Pages that were allocated in 2.00 s and not freed, by who" in said
    assert (
        "Incomplete: 1,518 allocations were not kept (--most), 1 allocation while "
        "the tracer's own program ran on the same CPU was not seen." in said
    )
    assert "Lost" not in said
    document = json.loads(text(made, "json"))
    assert (document["at_most"], document["incomplete"]) == (False, True)
    assert "No page is outstanding" not in text(outstanding(blocks(), counts=full))
    assert "No page is outstanding" in text(outstanding(blocks(), missed=Missed(0, 1)))


def test_what_the_locked_map_refused_may_be_either() -> None:
    made = outstanding(counts=HeldCounts(busy=1))
    said = " ".join(text(made).split())
    assert "Of the allocations that were recorded in 2.00 s, at most these pages" in said
    assert "Lost: 1 event while the map was locked." in said
    document = json.loads(text(made, "json"))
    assert (document["at_most"], document["incomplete"]) == (True, True)


def test_without_the_bulk_allocator_it_is_incomplete() -> None:
    made = outstanding()
    assert made.complete
    blind = replace(made, reading=replace(made.reading, sees_bulk=False))
    assert not blind.complete
    assert "Pages of the bulk allocator were not seen" in " ".join(text(blind).split())
    document = json.loads(text(blind, "json"))
    assert document["allocated"]["bulk_pages"] is None
    assert document["incomplete"] is True


def test_json_has_the_documented_form() -> None:
    document = json.loads(text(outstanding(top=1), "json"))
    assert document == {
        "schema": 1,
        "kernel": {
            "release": "7.3.4-test",
            "source": "live",
            "symbols": "btf",
            "scheme": "byte",
        },
        "duration_ns": 2 * SECOND,
        "by": ["caller"],
        "outstanding": {"allocations": 4, "pages": 11},
        "at_most": False,
        "incomplete": False,
        "lost": 0,
        "lost_by": {
            "missed_allocations": 0,
            "missed_frees": 0,
            "full": 0,
            "busy": 0,
            "bulk": 0,
            "stacks": 0,
        },
        "found_free": 0,
        "overtaken": 0,
        "own": 1,
        "command_status": None,
        "rows": [
            {
                "key": ["open\\x1b"],
                "allocations": 2,
                "pages": 9,
                "bytes": 9 * 4096,
                "oldest_ns": 3 * SECOND,
                "orders": {"1": 1, "3": 1},
                "now": {"unknown": 10},
            }
        ],
        "more_rows": {"count": 1, "allocations": 2, "pages": 2},
        "allocated": {
            "allocations": 9,
            "pages": 20,
            "bulk_pages": 0,
            "failed": 0,
            "full_pages": 0,
        },
        "contiguous": {"calls": 0, "pages": 0},
        "freed": {
            "frees": 4,
            "pages": 5,
            "known_pages": 0,
            "part_pages": 0,
            "other_pages": 5,
        },
        "replaced": 0,
        "vmstat": {"pgalloc": 20, "pgfree": 5, "allocated": 20, "freed": 5},
        "problems": [],
    }


def test_the_table_ends_with_all_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    lines = text(outstanding(top=1)).splitlines()
    rows = [line.split() for line in lines if line.startswith(("open", "1 more", "total"))]
    assert rows == [
        ["open\\x1b", "2", "9", "36", "KiB", "3.00", "s", "1:1", "3:1", "unknown", "(10)"],
        ["1", "more", "row", "2", "2", "8", "KiB"],
        ["total", "4", "11", "44", "KiB"],
    ]


def test_stacks_are_listed_below_the_table() -> None:
    shown = text(outstanding(by=("stack",)))
    assert shown.count("Stack ") == 3
    assert "    leak [driver]" in shown.splitlines()
    assert "\x1b" not in shown


@pytest.mark.parametrize("form", ["csv", "jsonl", "prometheus", "markdown"])
def test_every_format_can_be_written(form: str) -> None:
    for by in (("caller",), ("stack",), ("order", "comm"), ("pid",)):
        assert text(outstanding(by=by, missed=Missed(1, 0)), form)


@pytest.mark.parametrize("by", [("stack",), ("stack", "pid"), ("pid", "stack"), ("caller",)])
def test_the_last_rows_have_a_name_for_people(by: tuple[str, ...]) -> None:
    for form in ("table", "markdown"):
        lines = [line.strip("| ") for line in text(outstanding(by=by, top=1), form).splitlines()]
        more = "2 more rows" if "stack" in by else "1 more row"
        assert len([line for line in lines if line.startswith((more, "total"))]) == 2, form


@pytest.mark.parametrize(
    ("by", "labels"),
    [
        (("caller",), ("1 more row", "lost")),
        (("stack",), ("2 more rows", "lost")),
        (("pid", "comm"), ("2 more rows", "lost")),
        (("pid",), ("", "")),
    ],
)
def test_rows_of_programs_are_limited_and_add_up(
    by: tuple[str, ...], labels: tuple[str, str]
) -> None:
    made = outstanding(by=by, top=1, missed=Missed(1, 2))
    rows = list(csv.DictReader(io.StringIO(text(made, "csv"))))
    assert tuple(row[by[-1]] for row in rows[1:]) == labels
    assert sum(int(row["pages"] or 0) for row in rows) == 11
    assert rows[-1] | {by[-1]: ""} == dict.fromkeys(rows[-1], "") | {"allocations": "3"}
    first, more, lost = map(json.loads, text(made, "jsonl").splitlines())
    assert [row["pages"] for row in (first, more, lost)] == [
        made.rows[0].pages,
        11 - made.rows[0].pages,
        None,
    ]
    assert more[by[-1]] == (([labels[0]] if by == ("stack",) else labels[0]) or None)


def test_metrics_are_limited_too() -> None:
    shown = text(outstanding(top=1), "prometheus").splitlines()
    pages = [
        line.split()[-1]
        for line in shown
        if line.startswith("pageinspect_trace_outstanding_by_caller_pages{")
    ]
    assert len(pages) == 2


def test_names_in_csv_do_not_run_together() -> None:
    found = {"p20": ("slab", 1), "p21": ("unknown", 1)}
    made = outstanding(found=found)
    row = made.rows[0]._replace(now={"anon:0 processes": 512, "others": 4, 'a"b': 2})
    first = next(csv.DictReader(io.StringIO(text(replace(made, rows=(row,)), "csv"))))
    assert first["now"] == r""""anon:0 processes":512 others:4 "a\"b":2"""
    assert first["orders"] == "1:1 3:1"


def test_sentences_are_whole_in_markdown() -> None:
    paragraphs = text(outstanding(missed=Missed(1, 1)), "markdown").split("\n\n")
    sentences = [part for part in paragraphs if part and not part.startswith(("|", "Linux"))]
    assert all(part[0].isupper() and part.endswith(".") for part in sentences), sentences
    assert any(len(part) > 100 for part in sentences)
