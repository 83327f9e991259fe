# SPDX-License-Identifier: GPL-2.0-only
"""What the report of a trace says, in each of its forms."""

import csv
import io
import json
from dataclasses import replace

import pytest
from synthetic import MODERN, OLD, SCHEMES
from trace_reports import (
    KERNEL,
    OFFLINE,
    SHELL,
    STACKS,
    TABLE,
    ZONES,
    ZSMALLOC,
    ZSWAP,
    broken_down,
    counts,
    report,
)

from pageinspect.render import load, render
from pageinspect.report.event import EventLines
from pageinspect.report.frees import Frees
from pageinspect.report.trace import TraceReport
from pageinspect.report.trace_subject import TraceSubject
from pageinspect.trace.kinds import HWPOISON, PAGE_POOL
from pageinspect.trace.options import Filters, TraceOptions
from pageinspect.trace.records import Event, Lost


def text(of: TraceReport, form: str = "table") -> str:
    stream = io.StringIO()
    render(of, form, stream)
    return stream.getvalue()


STICKY = counts({(ZSMALLOC, 0): 8192, (OFFLINE, 0): 32768}, {0: 10, 3: 2})


def test_json_has_the_documented_form() -> None:
    assert json.loads(text(report(STICKY, status=0), "json")) == {
        "schema": 1,
        "kernel": {
            "release": "7.3.4-test",
            "source": "live",
            "symbols": "btf",
            "scheme": "byte",
        },
        "resets": True,
        "resets_from": "inferred from PG_movable_ops_isolated",
        "duration_ns": 1_500_000_000,
        "events": 8192 + 32768 + 12,
        "lost": 0,
        "lost_by": {"unread": 0, "missed": 0, "who": 0, "stacks": 0, "events": 0},
        "command_status": 0,
        "typed": [
            {
                "type": "offline",
                "frees": 32768,
                "pages": 32768,
                "expected": True,
                "disallowed": False,
                "orders": {"0": 32768},
            },
            {
                "type": "zsmalloc",
                "frees": 8192,
                "pages": 8192,
                "expected": True,
                "disallowed": False,
                "orders": {"0": 8192},
            },
        ],
        "untyped": {"frees": 12, "pages": 10 + 2 * 8},
    }


def test_the_table_of_expected_frees_is_no_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    lines = text(report(STICKY)).splitlines()
    assert lines[0] == "Linux 7.3.4-test, this kernel, types from BTF"
    assert lines[1].startswith("Pages freed in 1.50 s. ")
    assert "resets a type that is still set (inferred from PG_movable_ops_isolated)" in lines[1]
    assert "offline and zsmalloc are expected" in lines[1]
    rows = [line.split() for line in lines[5:]]
    assert rows == [
        ["offline", "32,768", "32,768", "128", "MiB", "0:32768", "expected"],
        ["zsmalloc", "8,192", "8,192", "32", "MiB", "0:8192", "expected"],
        ["untyped", "12", "26", "104", "KiB", "0:10", "3:2"],
        ["total", "40,972", "40,986", "160.1", "MiB", "0:40970", "3:2"],
    ]
    assert "UNEXPECTED" not in "".join(lines)


def test_an_unexpected_free_is_reported() -> None:
    shown = text(report(counts({(TABLE, 0): 3, (ZSMALLOC, 0): 5}, {})))
    assert "UNEXPECTED" in next(line for line in shown.splitlines() if line.startswith("table"))
    assert shown.splitlines()[-1] == (
        "Unexpected: table. The owner should clear the type before the free."
    )


@pytest.mark.parametrize("name", ["zsmalloc", "offline"])
def test_no_typed_free_is_expected_where_the_buddy_resets_nothing(name: str) -> None:
    layout = replace(OLD, scheme=SCHEMES["6.12"])
    slot = {"zsmalloc": ZSMALLOC, "offline": OFFLINE}[name]
    made = report(counts({(slot, 0): 1}, {}), layout)
    assert [(row.type_name, row.expected) for row in made.typed] == [(name, False)]
    said = " ".join(text(made).split())
    assert "does not reset types" in said
    assert "is a bad page, if the kernel checks pages" in said


def test_none_at_all_is_said_in_a_sentence() -> None:
    shown = text(report(counts({}, {0: 1})))
    assert shown.splitlines()[-1] == "No page was freed with a page type set."


def test_none_of_the_chosen_types_is_said_in_a_sentence() -> None:
    made = report(STICKY, types=("table", "slab"))
    assert [(row.type_name, row.frees.pages) for row in made.typed] == [("slab", 0), ("table", 0)]
    assert text(made).splitlines()[-1] == "No page was freed with the type slab or table set."


def test_chosen_types_and_the_others_add_up() -> None:
    made = report(STICKY, types=("zsmalloc",))
    assert [row.type_name for row in made.typed] == ["zsmalloc"]
    assert made.others == Frees(tuple([32768] + [0] * 15))
    assert made.total == report(STICKY).total
    assert made.to_json()["others"] == {"frees": 32768, "pages": 32768}
    assert "other types" in text(made)


def test_rows_are_sorted_by_pages() -> None:
    made = report(counts({(TABLE, 0): 100, (ZSMALLOC, 9): 1}, {}))
    assert [row.type_name for row in made.typed] == ["zsmalloc", "table"]
    assert [row.frees.pages for row in made.typed] == [512, 100]


def test_slots_of_one_name_are_one_row() -> None:
    made = report(counts({(0x80, 0): 1, (0x90, 1): 2}, {}))
    assert [(row.type_name, row.frees.by_order) for row in made.typed] == [
        ("overflow", {0: 1, 1: 2})
    ]


def test_a_page_with_two_types_is_found_by_either() -> None:
    layout = replace(OLD, scheme=SCHEMES["5.0"])
    both = (0x200 | 0x400) >> 7
    made = report(counts({(both, 0): 4}, {}), layout, types=("table",))
    rows = {row.type_name: row.frees.pages for row in made.typed}
    assert sum(rows.values()) == 4
    assert "kmemcg+table" in rows or "table+kmemcg" in rows


def test_lost_frees_are_reported_by_cause() -> None:
    made = report(counts({}, {0: 1}, unread=2, missed=1000))
    assert made.to_json()["lost"] == 1002
    assert {k: n for k, n in made.to_json()["lost_by"].items() if n} == {
        "unread": 2,
        "missed": 1000,
    }
    said = " ".join(text(made).split())
    assert (
        "Lost: 1,000 frees while the tracer's own program ran on the same CPU, 2 unreadable."
        in said
    )


def test_the_status_of_a_command_that_failed_is_reported() -> None:
    assert "The command ended with status 7." in text(report(STICKY, status=7))
    assert "The command" not in text(report(STICKY, status=0))


def test_an_interval_says_when_it_was() -> None:
    made = report(STICKY, start_ns=2_000_000_000, interval=True)
    document = made.to_json()
    assert (document["start_ns"], document["end_ns"]) == (2_000_000_000, 3_500_000_000)
    shown = text(made)
    assert "Linux" not in shown
    assert "3.50 s  offline" in shown
    first = report(STICKY, interval=True)
    assert text(first).startswith("Linux 7.3.4-test, this kernel")


def test_csv_has_plain_numbers_what_was_lost_and_no_total() -> None:
    given = replace(STICKY, lost=Lost(unread=2, missed=3))
    assert text(report(given), "csv").splitlines() == [
        "type,frees,pages,bytes,orders,verdict",
        "offline,32768,32768,134217728,0:32768,expected",
        "zsmalloc,8192,8192,33554432,0:8192,expected",
        "untyped,12,26,106496,0:10 3:2,",
        "lost,5,,,,",
    ]


def test_csv_of_an_interval_says_from_when_to_when() -> None:
    made = report(STICKY, types=("zsmalloc",), start_ns=2_000_000_000, interval=True)
    rows = list(csv.DictReader(io.StringIO(text(made, "csv"))))
    assert [row["type"] for row in rows] == ["zsmalloc", "other types", "untyped", "lost"]
    assert {(row["start_ns"], row["end_ns"]) for row in rows} == {("2000000000", "3500000000")}


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("comm", [["sh\\x1b[1m"], ["kswapd0"]]),
        ("pid", [[99], [42]]),
        ("cpu", [[0], [1]]),
        ("order", [[1], [0]]),
        ("node", [[1], [0]]),
    ],
)
def test_rows_by_who_freed_come_with_most_pages_first(by: str, keys: list[object]) -> None:
    document = broken_down(by).to_json()
    assert document["by"] == [by]
    assert [row["key"] for row in document["rows"]] == keys
    assert [(row["frees"], row["pages"]) for row in document["rows"]] == [(20, 40), (10, 10)]
    assert [row["orders"] for row in document["rows"]] == [{"1": 20}, {"0": 10}]
    assert "stacks" not in document


@pytest.mark.parametrize(("by", "key"), [("zone", "Normal"), ("caller", "zs_free")])
def test_rows_of_one_key_are_one(by: str, key: str) -> None:
    (row,) = broken_down(by).to_json()["rows"]
    assert (row["key"], row["frees"], row["pages"]) == ([key], 30, 50)


def test_stacks_have_frames_without_the_tracing_machinery() -> None:
    document = broken_down(stacks=True).to_json()
    assert document["stacks"] == [
        {
            "type": "zsmalloc",
            "frees": 20,
            "pages": 40,
            "frames": ["__free_frozen_pages", "zs_free", "reset"],
        },
        {
            "type": "zsmalloc",
            "frees": 10,
            "pages": 10,
            "frames": ["__free_frozen_pages", "zs_free", "shrink"],
        },
    ]
    assert "rows" not in document


def test_keys_and_stacks_are_told_apart_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    made = broken_down("comm", "zone", stacks=True)
    lines = text(made).splitlines()
    rows = [line.split() for line in lines[5:9]]
    assert rows[0][:6] == ["zsmalloc", "sh\\x1b[1m", "Normal", "1", "20", "40"]
    assert rows[1][:6] == ["zsmalloc", "kswapd0", "Normal", "2", "10", "10"]
    assert rows[2][:3] == ["untyped", "5", "5"]
    assert lines[10:14] == ["Stack 1:", "    __free_frozen_pages", "    zs_free", "    reset"]
    assert text(made, "csv").splitlines()[:2] == [
        "type,comm,zone,frames,frees,pages,bytes,orders,verdict",
        "zsmalloc,sh\\x1b[1m,Normal,__free_frozen_pages;zs_free;reset,20,40,163840,1:20,expected",
    ]


def test_what_top_leaves_out_is_summed() -> None:
    made = broken_down("comm", top=1)
    assert [row["key"] for row in made.to_json()["rows"]] == [["sh\\x1b[1m"]]
    assert ["1", "more", "row", "10", "10"] in [
        line.split()[:5] for line in text(made).splitlines()
    ]
    left_out = {"count": 1, "frees": 10, "pages": 10}
    assert made.to_json()["more_rows"] == left_out
    stacks = broken_down(stacks=True, top=1).to_json()
    assert stacks["more_stacks"] == left_out
    assert "more_rows" not in stacks
    assert "more_rows" not in broken_down("comm").to_json()


def test_rows_add_up_where_page_pool_is_counted_but_not_chosen() -> None:
    given = counts({(PAGE_POOL, 0): 3, (ZSMALLOC, 1): 20}, {0: 1}, {SHELL: 20})
    options = TraceOptions(kinds=frozenset({ZSMALLOC}), by=("pid",), page_pool=True)
    made = report(given, options=options, types=("zsmalloc",))
    *rows, lost = csv.DictReader(io.StringIO(text(made, "csv")))
    assert lost["type"] == "lost"
    assert sum(int(row["frees"]) for row in rows) == made.total.frees
    assert [row["type"] for row in rows if row["frees"] == "3"] == ["page_pool"]


def test_folded_stacks_start_with_the_type_and_end_with_pages() -> None:
    assert list(broken_down(stacks=True).folded()) == [
        "zsmalloc;reset;zs_free;__free_frozen_pages 40\n",
        "zsmalloc;shrink;zs_free;__free_frozen_pages 10\n",
    ]


def test_page_pool_is_a_row_and_never_expected() -> None:
    made = report(counts({(PAGE_POOL, 0): 3}, {0: 1}), options=TraceOptions(page_pool=True))
    assert made.to_json()["typed"] == [
        {
            "type": "page_pool",
            "frees": 3,
            "pages": 3,
            "expected": False,
            "disallowed": False,
            "orders": {"0": 3},
        }
    ]
    assert made.total.frees == 4
    assert "page_pool  " in text(made)
    assert "UNEXPECTED" in text(made)


def test_disallowed_frees_are_counted_and_say_so() -> None:
    options = TraceOptions(disallowed=frozenset({ZSMALLOC}))
    made = report(STICKY, options=options)
    assert made.to_json()["disallowed"] == {"frees": 8192, "pages": 8192}
    rows = {line.split()[0]: line.split()[-1] for line in text(made).splitlines()[7:9]}
    assert rows == {"offline": "expected", "zsmalloc": "DISALLOWED"}
    assert text(made).splitlines()[-1] == "Disallowed: 8,192 frees."
    assert "disallowed" not in report(STICKY).to_json()
    # Whatever is shown.
    assert report(STICKY, options=options, types=("table",)).disallowed.frees == 8192


def test_typed_tails_are_reported_by_type() -> None:
    given = counts({}, {1: 4})
    given.tails[TABLE] = 2
    made = report(given, options=TraceOptions(tails=True))
    assert made.to_json()["tails"] == [{"type": "table", "pages": 2}]
    assert "in blocks that are not compound: table, 2 pages." in " ".join(text(made).split())
    assert "tails" not in report(given).to_json()


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        (None, "bad_page() cannot be probed on this kernel"),
        (0, "reported no bad page"),
        (3, "3 calls of bad_page()"),
    ],
)
def test_bad_pages_are_reported_where_the_buddy_allocator_resets_nothing(
    calls: int | None, said: str
) -> None:
    made = report(counts({}, {0: 1}, bad_pages=calls), OLD)
    assert made.to_json()["bad_pages"] == calls
    assert said in text(made)
    assert "bad_pages" not in report(counts({}, {0: 1})).to_json()
    assert "bad_page()" not in text(report(counts({}, {0: 1})))


def test_filters_are_part_of_the_report() -> None:
    options = TraceOptions(Filters(orders=(9, 0), pfns=((16, 32),), pid=5, comm="sh"))
    made = report(STICKY, options=options)
    assert made.to_json()["filters"] == {
        "order": [0, 9],
        "pfn": [[16, 32]],
        "pid": 5,
        "comm": "sh",
    }
    assert "Only frees of order 0, 9; pfn 0x10-0x20; pid 5; comm sh." in text(made)
    assert "filters" not in report(STICKY).to_json()


def events(form: str, *given: Event, stacks: bool = False) -> list[str]:
    """Return the lines of events, the head first."""
    options = TraceOptions(events=True, stacks=stacks)
    table = EventLines(TraceSubject(KERNEL, MODERN, options, stacks=STACKS)).table(given)
    stream = io.StringIO()
    load(form).begin(table, stream)(table.rows)
    return stream.getvalue().splitlines()


def test_each_event_is_a_line() -> None:
    event = Event(1_500_000, 0x1234, ZSWAP)
    (line,) = events("json", event)
    assert json.loads(line) == {
        "time_ns": 1_500_000,
        "cpu": 1,
        "pid": 42,
        "comm": "kswapd0",
        "type": "zsmalloc",
        "order": 0,
        "pfn": 0x1234,
    }
    assert events("jsonl", event) == [line]
    assert events("csv", event) == [
        "time_ns,cpu,pid,comm,type,order,pfn",
        "1500000,1,42,kswapd0,zsmalloc,0,4660",
    ]
    header, rule, shown = events("table", event)
    assert set(rule) == {"-", " "}
    assert dict(zip(header.split(), shown.split(), strict=True)) == {
        "seconds": "0.001500",
        "cpu": "1",
        "pid": "42",
        "comm": "kswapd0",
        "type": "zsmalloc",
        "order": "0",
        "pfn": "0x1234",
    }
    assert events("markdown", event)[0] == "| seconds | cpu | pid | comm | type | order | pfn |"


def test_an_event_has_its_stack_when_stacks_are_asked_for() -> None:
    event = Event(0, 1, SHELL)
    (line,) = events("json", event, stacks=True)
    frames = ["__free_frozen_pages", "zs_free", "reset"]
    assert json.loads(line)["frames"] == frames
    assert json.loads(line)["comm"] == "sh\\x1b[1m"
    head, line = events("csv", event, stacks=True)
    assert head.endswith(",pfn,frames")
    assert line.endswith(",1,__free_frozen_pages;zs_free;reset")
    assert events("table", event, stacks=True)[3:] == [f"    {frame}" for frame in frames]


def test_an_alarm_names_type_and_stack() -> None:
    subject = TraceSubject(KERNEL, MODERN, stacks=STACKS)
    lines = EventLines(subject).alarm(Event(2_000_000_000, 0x10, ZSWAP), 1, with_stack=True)
    assert "by sh\\x1b[1m (pid" in EventLines(subject).alarm(Event(0, 1, SHELL), 2, with_stack=True)
    first, *frames = lines.splitlines()
    assert first == (
        "pageinspect: DISALLOWED: zsmalloc freed at 2.000000 s, order 0, pfn 0x10, by kswapd0 "
        "(pid 42) on CPU 1, stack 1"
    )
    assert frames == [
        "    __free_frozen_pages",
        "    zs_free",
        "    shrink",
    ]


def test_rows_and_stacks_are_summed_over_what_the_other_tells_apart() -> None:
    same_stack = replace(SHELL, stack=7, order=0)
    given = counts({(ZSMALLOC, 0): 15}, {}, {ZSWAP: 10, same_stack: 5})
    options = TraceOptions(by=("comm",), stacks=True)
    document = report(given, options=options, stacks=STACKS, zones=ZONES).to_json()
    assert [(row["key"], row["frees"]) for row in document["rows"]] == [
        (["kswapd0"], 10),
        (["sh\\x1b[1m"], 5),
    ]
    assert [stack["frees"] for stack in document["stacks"]] == [15]


def test_poisoned_pages_have_a_row_and_are_in_no_total(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    poisoned = report(counts({(HWPOISON, 0): 5, (TABLE, 0): 1}, {0: 10}))
    lines = [line.split() for line in text(poisoned).splitlines()]
    assert [line[:3] for line in lines if line[:1] in (["hwpoison"], ["total"])] == [
        ["hwpoison", "5", "5"],
        ["total", "11", "11"],
    ]
    told = json.loads(text(poisoned, "json"))
    assert told["hwpoison"] == {"frees": 5, "pages": 5}
    assert told["events"] == 11
    assert "Withheld from the allocator, and not in any total: 5 hwpoison pages." in text(poisoned)
    assert "hwpoison" not in json.loads(text(report(STICKY), "json"))
