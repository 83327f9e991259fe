"""What the report of a trace says, in each of its forms."""

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from synthetic import MODERN, OLD, SCHEMES

from pageinspect.layout import PageLayout
from pageinspect.render import render
from pageinspect.report.trace import Frees, TraceReport
from pageinspect.schemes import SLOTS
from pageinspect.target import Provenance
from pageinspect.trace.program import ORDERS, Counts
from pageinspect.trace.session import Reading

KERNEL = Provenance("7.3.4-test", "live", "btf")
ZSMALLOC, OFFLINE, TABLE = 0xF6, 0xF1, 0xF2


def counts(
    typed: dict[tuple[int, int], int], untyped: dict[int, int], unread: int = 0, missed: int = 0
) -> Counts:
    """Make counts of {(slot, order): frees} and {order: frees}."""
    of_slot, of_untyped = np.zeros((SLOTS, ORDERS), np.uint64), np.zeros(ORDERS, np.uint64)
    for key, frees in typed.items():
        of_slot[key] = frees
    for order, frees in untyped.items():
        of_untyped[order] = frees
    return Counts(of_slot, of_untyped, unread, missed)


def report(
    given: Counts,
    layout: PageLayout = MODERN,
    *,
    types: tuple[str, ...] | None = None,
    start_ns: int = 0,
    interval: bool = False,
    status: int | None = None,
) -> TraceReport:
    reading = Reading(given, start_ns, start_ns + 1_500_000_000, last=True, command_status=status)
    return TraceReport.of(KERNEL, layout, reading, types=types, interval=interval)


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
        "duration_ns": 1_500_000_000,
        "events": 8192 + 32768 + 12,
        "lost": 0,
        "command_status": 0,
        "typed": [
            {
                "type": "offline",
                "frees": 32768,
                "pages": 32768,
                "expected": True,
                "orders": {"0": 32768},
            },
            {
                "type": "zsmalloc",
                "frees": 8192,
                "pages": 8192,
                "expected": True,
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


def test_an_unexpected_free_is_told() -> None:
    shown = text(report(counts({(TABLE, 0): 3, (ZSMALLOC, 0): 5}, {})))
    assert "UNEXPECTED" in next(line for line in shown.splitlines() if line.startswith("table"))
    assert shown.splitlines()[-1] == (
        "Not expected: table. The owner clears this type before a free."
    )


@pytest.mark.parametrize("name", ["zsmalloc", "offline"])
def test_no_typed_free_is_expected_where_the_buddy_resets_nothing(name: str) -> None:
    layout = replace(OLD, scheme=SCHEMES["6.12"])
    slot = {"zsmalloc": ZSMALLOC, "offline": OFFLINE}[name]
    made = report(counts({(slot, 0): 1}, {}), layout)
    assert [(row.type_name, row.expected) for row in made.typed] == [(name, False)]
    said = " ".join(text(made).split())
    assert "does not reset types" in said
    assert "a bad page, where the kernel checks pages" in said


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


def test_lost_frees_are_told_by_cause() -> None:
    made = report(counts({}, {0: 1}, unread=2, missed=1000))
    assert made.to_json()["lost"] == 1002
    said = " ".join(text(made).split())
    assert "Lost: 1,002 frees are in no count (1,000 in interrupts" in said


def test_the_status_of_a_command_that_failed_is_told() -> None:
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
    given = replace(STICKY, unread=2, missed=3)
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
