# SPDX-License-Identifier: GPL-2.0-only
"""Readings that follow each other: the change of each row since the last one."""

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from synthetic import MODERN

from pageinspect.model.provenance import Provenance
from pageinspect.model.table import Absent
from pageinspect.render import render
from pageinspect.report import Coverage, Report
from pageinspect.report.owners import OwnerRow, OwnersReport
from pageinspect.report.processes import MmUse, ProcessesReport, ProcessRow
from pageinspect.report.since import Measured, ReportSince
from pageinspect.report.summary import SummaryReport, SummaryRow

FROM = Provenance("7.3.4-test", "live", "btf")
PAGES = Measured(("kind", "name", "filesystem"), "pages", "pages")
WHEN = "20261127T201500Z"


def since(whole: Report, last: Report | None, measured: Measured, top: int | None) -> ReportSince:
    shown = replace(whole, top=top) if hasattr(whole, "top") else whole  # type: ignore[type-var]
    return ReportSince(WHEN, shown, whole, last, measured)


def owners(by: str, rows: tuple[OwnerRow, ...], **fields: Any) -> OwnersReport:
    return OwnersReport(FROM, MODERN, Coverage(100, 0), by, rows, top=0, **fields)


def written(report: Report, form: str) -> str:
    stream = io.StringIO()
    render(report, form, stream)
    return stream.getvalue()


def changes(report: ReportSince) -> list[tuple[Any, Any]]:
    """Return the name and the change of each row that people see."""
    keys = [column.key for column in report.view().table.columns]
    name = "name" if "name" in keys else "kind"
    return [(row[keys.index(name)], row[keys.index("change")]) for row in report.view().all_rows()]


BEFORE = owners(
    "name", (OwnerRow("slab", "a", 9), OwnerRow("slab", "b", 5), OwnerRow("anon", "", 2))
)
AFTER = owners(
    "name", (OwnerRow("slab", "b", 9), OwnerRow("file", "c", 4), OwnerRow("anon", "", 1))
)


def test_rows_that_are_new_grew_and_shrank() -> None:
    none = Absent.NOT_APPLICABLE
    assert changes(since(AFTER, BEFORE, PAGES, 0)) == [
        ("b", 4), ("c", 4), (none, -1), ("total", -2),
    ]  # fmt: skip


def test_the_first_reading_has_no_change() -> None:
    assert {change for _, change in changes(since(AFTER, None, PAGES, 0))} == {
        Absent.NOT_APPLICABLE
    }


def test_a_row_that_was_not_among_the_first_before() -> None:
    first = since(AFTER, BEFORE, PAGES, 1)
    assert changes(first) == [("b", 4), ("(2 more owners)", Absent.NOT_APPLICABLE), ("total", -2)]


def test_names_that_are_not_unique_have_no_change() -> None:
    twice = owners("name", (OwnerRow("file", "a", 9), OwnerRow("file", "a", 5)))
    assert changes(since(twice, twice, PAGES, 0))[:2] == [("a", Absent.NOT_APPLICABLE)] * 2


def test_kinds_and_the_largest_owners_each_have_their_own_change() -> None:
    rows = OwnerRow("slab", "", 14), OwnerRow("anon", "", 2)
    before = owners("kind", rows, largest=BEFORE.rows)
    after = owners("kind", (OwnerRow("slab", "", 9), OwnerRow("anon", "", 3)), largest=AFTER.rows)
    report = since(after, before, PAGES, 0)
    assert changes(report) == [("slab", -5), ("anon", 1), ("total", -4)]
    ((_, largest),) = report.view().more
    place = [column.key for column in largest.columns].index("change")
    assert [row[place] for row in largest.rows] == [4, 4, -1]


def test_kinds_below_a_cgroup_are_those_of_this_cgroup() -> None:
    before, after = (
        owners("cgroup", tuple(OwnerRow("slab", name, n) for name, n in pages))
        for pages in ((("/a", 9), ("/b", 5)), (("/a", 10), ("/b", 7)))
    )
    assert changes(since(after, before, PAGES, 0))[:4] == [
        ("/a", 1), ("- slab", 1), ("/b", 2), ("- slab", 2),
    ]  # fmt: skip


def test_what_untyped_pages_are() -> None:
    def summary(reset: int) -> SummaryReport:
        row = SummaryRow(("untyped",), 20 + reset, 1, "", (("reset", reset), ("odd", 20)))
        return SummaryReport(FROM, MODERN, Coverage(100, 0), ("type",), (row,), 0)

    measured = Measured(("type",), "pages", "pages")
    report = since(summary(9), summary(5), measured, None)
    text = written(report, "table")
    assert [line.split()[3] for line in text.splitlines() if "- reset" in line] == ["+4"]
    rows = [(row[0], row[3]) for row in report.view().all_rows()]
    assert rows == [("untyped", 4), ("- reset", 4), ("- odd", 0), ("total", 4)]


def processes(*rows: tuple[int, str, int, bool]) -> ProcessesReport:
    made = [
        ProcessRow(pid, comm, "/", pid, MmUse(pss, pss, *[0] * 8, readable=readable))
        for pid, comm, pss, readable in rows
    ]
    return ProcessesReport(FROM, MODERN, Coverage(64, 0), "pss", tuple(made), top=0)


def test_processes_by_pid_and_name() -> None:
    before = processes((1, "init", 4096, True), (2, "sh", 8192, True), (3, "x", 0, False))
    after = processes((1, "init", 6144, True), (2, "ls", 1024, True), (3, "x", 9, True))
    report = since(after, before, Measured(("pid", "comm"), "pss", "bytes"), 0)
    (table,) = report.tables()
    assert [(row["comm"], row["change"]) for row in table.records()] == [
        ("init", 2048), ("ls", 1024), ("x", None),
    ]  # fmt: skip
    assert "+2 KiB" in written(report, "table")


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_rows_have_their_time(form: str) -> None:
    text = written(since(AFTER, BEFORE, PAGES, 0), form)
    assert text.count(WHEN) == 3


def test_json_has_the_time_and_the_change() -> None:
    document = json.loads(written(since(AFTER, BEFORE, PAGES, 0), "json"))
    assert list(document)[:2] == ["schema", "time"]
    assert [(row["name"], row["change"]) for row in document["rows"]] == [
        ("b", 4), ("c", 4), (None, -1),
    ]  # fmt: skip


def test_people_see_the_time() -> None:
    assert written(since(AFTER, None, PAGES, 0), "table").splitlines()[1] == f"At {WHEN}"
