# SPDX-License-Identifier: GPL-2.0-only
"""Readings from reports: the same rows and numbers, and changes since a moment."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from saved_tables import KERNEL, owner, run, snapshot

from pageinspect.doctor.finding import TRACING, CheckedItem, Finding, Item
from pageinspect.errors import PageInspectError, UsageError
from pageinspect.model.provenance import GuestState, Provenance, SnapshotMoment
from pageinspect.report.owners import OwnersReport
from pageinspect.report.selection import Request
from pageinspect.report.summary import SummaryReport
from pageinspect.saved.reports import SavedReports
from pageinspect.screen.frees import FreesTab, missing
from pageinspect.screen.reader import Reader, failed
from pageinspect.screen.reading import ScreenReading

LIVE = Provenance("7.0", "live", "btf")
USES = {"what": "tab", "name": "Uses"}
OWNERS = {"what": "tab", "name": "Owners"}
KERNEL_WHOLE = replace(KERNEL, missing={})


def saved(file_pages: int, name: str = "/lib/x") -> SavedReports:
    """A kernel with 100 pages, of which some are of a file."""
    runs = [
        run(0, file_pages, use="file", owner=1),
        run(file_pages, 100 - file_pages, use="anon", owner=2),
    ]
    owners = [
        owner(1, "file", name, pages=file_pages, filesystem="ext4 on vda"),
        owner(2, "anon", "sh[8]", pages=100 - file_pages),
    ]
    return SavedReports(snapshot(runs, owners, KERNEL_WHOLE, processes=()))


class Changing:
    """A kernel that is another one at each reading."""

    def __init__(self, *moments: SavedReports) -> None:
        self._moments = [*moments]
        self.read: list[str] = []

    def _next(self, what: str) -> SavedReports:
        self.read.append(what)
        return self._moments.pop(0) if len(self._moments) > 1 else self._moments[0]

    def summary(
        self, by: Sequence[str], request: Request, *, counters: bool = True
    ) -> SummaryReport:
        return self._next("summary").summary(by, request, counters=counters)

    def owners(
        self, by: str, request: Request, *, top: int | None = None, name_all: bool = True
    ) -> OwnersReport:
        return self._next("owners").owners(by, request, top=top, name_all=name_all)


def reader(*moments: SavedReports, provenance: Provenance = LIVE) -> tuple[Reader, Changing]:
    source = Changing(*moments)
    return Reader(source, provenance, FreesTab(None)), source  # type: ignore[arg-type]


def changes(reading: ScreenReading, key: str = "use") -> dict[str, float | None]:
    values = reading.column("change").values
    assert values is not None
    return dict(zip(reading.column(key).texts, values, strict=True))


def test_changes_count_from_the_first_reading() -> None:
    live, source = reader(saved(10), saved(15), saved(40))
    assert changes(live.answer(USES)) == {"file": 0, "anon": 0}
    assert changes(live.answer(USES)) == {"file": 5, "anon": -5}
    third = live.answer(USES)
    assert changes(third) == {"file": 30, "anon": -30}
    assert third.column("pages").texts == ["60", "40"]
    assert set(third.column("change").texts) == {"+30", "-30"}
    assert third.since.startswith("change since ")
    assert third.changing
    # Owners were never read.
    assert source.read == ["summary"] * 3


def test_a_mark_reads_nothing() -> None:
    live, source = reader(saved(10), saved(15), saved(40))
    live.answer(USES)
    live.answer(USES)
    marked = live.answer({**USES, "mark": True})
    assert changes(marked) == {"file": 0, "anon": 0}
    assert len(source.read) == 2
    assert changes(live.answer(USES)) == {"file": 25, "anon": -25}


def test_an_owner_that_came_has_all_its_pages_as_change() -> None:
    live, _ = reader(saved(10), saved(10, "/lib/new"))
    live.answer(OWNERS)
    found = changes(live.answer(OWNERS), "name")
    assert found == {"/lib/new": 10, "sh[8]": 0}


def test_without_changes_there_is_no_column_of_them() -> None:
    core, _ = reader(saved(10), provenance=Provenance("7.0", "core", "btf"))
    reading = core.answer(OWNERS)
    assert [column.name for column in reading.columns] == [
        *("kind", "name", "file system", "pages", "%", "size")
    ]
    assert reading.since == ""
    assert not reading.changing


def test_runs_of_an_owner_and_of_a_use() -> None:
    reports = saved(10)
    core = Reader(reports, reports.provenance, FreesTab(None))
    of_owner = core.answer({"what": "runs", "owner": ["file:/lib/x"]})
    assert of_owner.column("start").texts == ["0x0"]
    assert of_owner.column("pages").values == [10]
    of_use = core.answer({"what": "runs", "use": ["anon"]})
    assert of_use.column("start").texts == ["0xa"]
    with pytest.raises(UsageError):
        core.answer({"what": "runs", "owner": ["file:/no/such"]})


def test_a_snapshot_has_no_pages() -> None:
    reports = saved(10)
    with pytest.raises(PageInspectError, match="struct pages"):
        Reader(reports, reports.provenance, FreesTab(None)).answer({"what": "page", "pfn": "0x1"})


def test_what_is_missing_is_a_note() -> None:
    reports = SavedReports(snapshot([run(0, 8, owner=1)], [owner(1, "boot", pages=8)]))
    reading = Reader(reports, reports.provenance, FreesTab(None)).answer(OWNERS)
    assert reading.note == "Owners lack something."


def test_a_reading_survives_its_json_form() -> None:
    live, _ = reader(saved(10))
    reading = live.answer(USES)
    assert ScreenReading.from_json(reading.to_json()) == reading
    error = failed(UsageError("what", "how"))
    assert (error.error, error.hint, error.status) == ("what", "how", 2)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, "A core is memory at one moment"),
        ({"snapshot": SnapshotMoment("h", "t")}, "A snapshot is memory at one moment"),
        (
            {"source": "qemu", "guest": GuestState(paused=False, denied="")},
            "The guest is read from outside",
        ),
    ],
)
def test_without_the_tracer_there_is_why(changes: dict[str, Any], why: str) -> None:
    other, _ = reader(
        saved(10), provenance=Provenance("7.0", **{"source": "core", "symbols": "btf", **changes})
    )
    lines = other.answer({"what": "tab", "name": "Frees"}).lines
    assert lines[0].startswith(why)
    assert "pageinspect trace" in lines[-1]


def test_what_tracing_lacks_is_reported_as_doctor_reports_it() -> None:
    def item(name: str, finding: Finding) -> CheckedItem:
        return CheckedItem(Item(name, (TRACING,), lambda _: finding), finding)

    bcc = item("bcc", Finding(ok=False, found="not \x1binstalled", fix="apt install it"))
    lines = missing((item("BTF", Finding(ok=True, found="there")), bcc))
    assert r"bcc: not \x1binstalled" in lines
    assert "  fix: apt install it" in lines
    assert not any("BTF" in line for line in lines)
    assert missing((item("BTF", Finding(ok=True, found="there")),)) == ()
