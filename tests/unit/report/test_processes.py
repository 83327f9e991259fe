# SPDX-License-Identifier: GPL-2.0-only
"""Processes in order, with sums that hold whatever is shown."""

import csv
import io
import json
from dataclasses import replace
from typing import Any

import pytest
from synthetic import MODERN

from pageinspect.cli.commands import processes as command
from pageinspect.model.processes import MmCounters
from pageinspect.model.provenance import Provenance
from pageinspect.render import render
from pageinspect.report.base import Coverage
from pageinspect.report.processes import (
    NUMBERS,
    SORT_KEYS,
    MmUse,
    ProcessesReport,
    ProcessRow,
    check_sort,
)

KIB = 1024


def use(rss: int, **others: Any) -> MmUse:
    """Return the use of an mm: numbers are in KiB, and 0 if they are not given."""
    given = dict.fromkeys(NUMBERS, 0) | {"rss": rss * KIB}
    return replace(MmUse(**given), **{n: v * KIB if n in NUMBERS else v for n, v in others.items()})


def report(*rows: ProcessRow, **fields: Any) -> ProcessesReport:
    provenance = Provenance("7.0", "core", "btf")
    given = {"sort": "rss", "processes": rows} | fields
    return ProcessesReport(provenance, MODERN, Coverage(8, 0), **given)


def rows(n: int) -> list[ProcessRow]:
    return [ProcessRow(pid, f"p{pid}", "/", pid, use(pid)) for pid in range(1, n + 1)]


def shown(made: ProcessesReport, form: str) -> str:
    stream = io.StringIO()
    render(made, form, stream)
    return stream.getvalue()


def cells(made: ProcessesReport) -> list[list[str]]:
    """Return the words of the rows of the table for people."""
    return [line.split() for line in shown(made, "table").splitlines()[4:]]


def test_ten_are_shown_to_people_and_all_to_programs() -> None:
    made = report(*rows(12))
    table = cells(made)
    assert [row[0] for row in table[:10]] == [str(pid) for pid in range(12, 2, -1)]
    assert table[10][:4] == ["2", "more", "3", "KiB"]
    assert table[11][:3] == ["total", "78", "KiB"]
    assert len(shown(made, "csv").splitlines()) == 1 + 12
    assert len(shown(made, "jsonl").splitlines()) == 12
    assert len(made.to_json()["rows"]) == 12
    everything = replace(made, top=0)
    assert "more" not in shown(everything, "table")
    assert cells(everything)[11][0] == "1"


@pytest.mark.parametrize("top", [1, 3, 11, 12, 13])
def test_rows_add_up_to_the_total_with_what_is_left_out(top: int) -> None:
    made = report(*rows(12), top=top)
    found = made.to_json()
    assert len(found["rows"]) == min(top + 1, 12)
    assert sum(row["rss"] for row in found["rows"]) == found["total"]["rss"] == 78 * KIB
    last = found["rows"][-1]
    assert (last["pid"] is None) == (top < 12)
    assert (last["counters"] is None) == (top < 12)
    records = list(csv.DictReader(io.StringIO(shown(made, "csv"))))
    assert sum(int(row["rss"]) for row in records) == 78 * KIB


def test_a_shared_address_space_counts_once() -> None:
    first, shared, other = use(8, pss=4), use(10, pss=5), use(1, pss=1)
    made = report(
        *(ProcessRow(pid, "a", "/", 1, shared) for pid in (1, 2, 3)),
        ProcessRow(4, "b", "/", 2, first),
        ProcessRow(5, "c", "/", 3, other),
    )
    assert (made.total["rss"], made.total["pss"]) == (19 * KIB, 10 * KIB)
    assert "with the address space of another process: 2." in shown(made, "table")
    # What is left out does not count what a row that is shown has already.
    left_out = replace(made, top=1).to_json()["rows"][-1]
    assert (left_out["pid"], left_out["comm"], left_out["rss"]) == (None, None, 9 * KIB)


def test_order() -> None:
    made = report(
        ProcessRow(1, "b", "/", 1, use(1, swap=5)),
        ProcessRow(2, "c", "/", 2, use(3, swap=5)),
        ProcessRow(3, "a", "/", 3, use(2)),
        ProcessRow(4, "d", "/", 4, use(99, readable=False)),
    )
    for sort, pids in (
        ("rss", [2, 3, 1, 4]),
        ("swap", [1, 2, 3, 4]),
        ("pid", [1, 2, 3, 4]),
        ("comm", [3, 1, 2, 4]),
    ):
        assert [row.pid for row in replace(made, sort=sort).rows] == pids, sort
    assert set(command._SORT_KEYS) == set(SORT_KEYS)
    for key in SORT_KEYS:
        check_sort(key)
        assert len(replace(made, sort=key).rows) == 4
        assert f" {key}" in shown(replace(made, sort=key), "table").splitlines()[2]


def test_what_is_unreadable_is_not_a_number() -> None:
    made = report(
        ProcessRow(1, "a", "/", 1, use(5, readable=False, whole=False)),
        ProcessRow(2, "b", "/", 2, use(4, whole=False)),
    )
    assert made.total["rss"] == 4 * KIB
    lines = shown(made, "table").splitlines()
    assert lines[5].split()[:3] == ["1", "a", "unreadable"]
    one, two = made.to_json()["rows"][::-1]
    assert (one["rss"], one["pss"], one["complete"]) == (None, None, False)
    assert (two["rss"], two["complete"]) == (4 * KIB, False)


def test_counters_are_beside_in_bytes() -> None:
    counters = MmCounters(file=1, anon=2, shmem=3, swap=4, table_bytes=500, hugetlb_pages=None)
    made = report(
        ProcessRow(1, "a", "/", 1, use(1, counters=counters)), ProcessRow(2, "b", "/", 2, use(2))
    )
    second, first = made.to_json()["rows"]
    expected = {"file": 4096, "anon": 8192, "shmem": 12288, "swap": 16384, "tables": 500}
    assert first["counters"] == expected | {"hugetlb": None}
    assert second["counters"] == dict.fromkeys([*expected, "hugetlb"])
    line = json.loads(shown(made, "jsonl").splitlines()[1])
    assert "counters" not in line
    assert {name: line[f"counter_{name}"] for name in expected} == expected
    assert line["counter_hugetlb"] is None


def test_names_are_escaped() -> None:
    evil = "\x1b[2J\n"
    made = report(ProcessRow(1, evil, f"/{evil}", 1, use(1)))
    for form in ("table", "csv", "jsonl", "markdown"):
        assert "\x1b" not in shown(made, form)
    assert made.to_json()["rows"][0]["comm"] == evil


def test_what_is_not_shown_is_said() -> None:
    text = shown(report(*rows(1), without_memory=1234, ended=2), "table")
    assert "kernel threads and processes that have exited, 1,234 in all." in text
    assert "processes that ended while they were read, 2 in all." in text
    assert "hugetlb" not in text
    with_hugetlb = ProcessRow(1, "a", "/", 1, use(1, hugetlb=2048))
    assert "not in rss: 2 MiB." in shown(report(with_hugetlb), "table").replace("\n", " ")
    assert "Not shown" not in shown(report(*rows(1)), "table")


def test_no_processes() -> None:
    made = report()
    assert made.to_json()["rows"] == []
    assert made.total["rss"] == 0
    assert shown(made, "table").splitlines()[0] == "Linux 7.0, a core, types from BTF"
    assert "total" not in shown(made, "table")
