# SPDX-License-Identifier: GPL-2.0-only
"""Answers the questions of the screen from a kernel or a snapshot, one report for each."""

import io
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..errors import PageInspectError, needs_struct_pages
from ..model.table import Table
from ..report.selection import Request
from ..report.since import Measured, ReportSince
from ..units import number
from .reading import Question, ScreenReading
from .shown import columns_of

if TYPE_CHECKING:
    from ..model.provenance import Provenance
    from ..report.base import Coverage
    from ..report.owners import OwnersReport
    from ..report.processes import ProcessesReport
    from ..report.source import ReportSource
    from ..report.summary import SummaryReport
    from .frees import FreesTab

    _OfTab = SummaryReport | OwnersReport | ProcessesReport

_MOST_RUNS = 10_000
_EVERYTHING = Request([], (), ())
_OWNER = Measured(("kind", "name", "filesystem"), "pages", "pages")


@dataclass(frozen=True, slots=True)
class _TabReport:
    """How the report of a tab is made."""

    make: "Callable[[ReportSource], _OfTab]"
    measured: Measured
    hidden: tuple[str, ...] = ()
    """Columns that are the same in every row."""


def _owners(by: str) -> "Callable[[ReportSource], OwnersReport]":
    return lambda source: source.owners(by, _EVERYTHING, top=0)


_REPORTS: Mapping[str, _TabReport] = {
    "Uses": _TabReport(
        lambda source: source.summary(["use"], _EVERYTHING, counters=False),
        Measured(("use",), "pages", "pages"),
    ),
    "Owners": _TabReport(_owners("name"), _OWNER),
    "Processes": _TabReport(
        lambda source: source.processes("pss", 0), Measured(("pid", "comm"), "pss", "bytes")
    ),
    "Files": _TabReport(_owners("file"), _OWNER),
    "Caches": _TabReport(_owners("cache"), _OWNER, ("kind", "filesystem")),
}


def cpu_time() -> float:
    """Return the CPU time of this process, and of those that it waited for, in seconds."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(each.ru_utime + each.ru_stime for each in used)


@dataclass(slots=True)
class Reader:
    """Reads what is asked for, and remembers what changes are counted from."""

    source: "ReportSource"
    provenance: "Provenance"
    frees: "FreesTab"
    _first: "dict[str, tuple[str, _OfTab]]" = field(default_factory=dict)
    """The reading of each tab that changes are counted from, with its time."""
    _last: "dict[str, tuple[str, _OfTab]]" = field(default_factory=dict)

    def answer(self, question: Question) -> ScreenReading:
        """Return the reading that is asked for. Raises PageInspectError."""
        began = cpu_time()
        reading = self._read(question)
        return replace(
            reading,
            about=self.provenance.describe(),
            changing=self.provenance.changing,
            cost=cpu_time() - began,
        )

    def _read(self, question: Question) -> ScreenReading:
        what, name = question["what"], question.get("name", "")
        if what == "open":
            return ScreenReading(time=_now())
        if name != "Frees":
            self.frees.close()
        if question.get("mark"):
            self._first.update(self._last)
            self.frees.mark()
        if what == "runs":
            return self._runs(question)
        if what == "page":
            return self._page(question["pfn"])
        if name == "Frees":
            return self.frees.read(_now(), self.provenance)
        return self._tab(name, again=not question.get("mark"))

    def _tab(self, name: str, *, again: bool) -> ScreenReading:
        tab = _REPORTS[name]
        if again or name not in self._last:
            self._last[name] = _now(), tab.make(self.source)
        moment, report = self._last[name]
        first = self._first.setdefault(name, (moment, report))
        table, since = report.tables()[0], ""
        if self.provenance.changing:
            both = ReportSince(moment, report, report, first[1], tab.measured)
            table, since = both.tables()[0], f"change since {first[0]}"
            # The time is the same in every row.
            table = Table(table.name, table.columns[1:], [row[1:] for row in table.rows])
        columns = columns_of(table, tab.measured.keys, tab.hidden)
        return ScreenReading(columns, time=moment, since=since, note=_note(report.coverage))

    def _runs(self, question: Question) -> ScreenReading:
        from ..report.listing import RunsListing

        request = Request([], (), tuple(question.get("use", ())), question.get("owner", ()))
        listing = self.source.list(RunsListing, request)
        table = listing.tables()[0]
        rows: Iterator[Any] = iter(table.rows)
        with closing(rows):  # type: ignore[type-var]
            found = list(islice(rows, _MOST_RUNS + 1))
        more = len(found) > _MOST_RUNS
        note = f"the first {number(_MOST_RUNS)} runs: list has all" if more else ""
        part = replace(table, rows=found[:_MOST_RUNS])
        return ScreenReading(columns_of(part, ("start",), ()), time=_now(), note=note)

    def _page(self, pfn: str) -> ScreenReading:
        from ..inspector.describe import describe_addresses
        from ..inspector.inspector import inspect
        from ..inspector.source import KernelSource
        from ..render import load

        if not isinstance(self.source, KernelSource):
            raise needs_struct_pages("a page")
        report = describe_addresses(inspect(self.source.target), [pfn], explain=False)
        text = io.StringIO()
        load("table").write(report, text)
        lines = text.getvalue().splitlines()
        # Those before describe the kernel.
        return ScreenReading(lines=tuple(lines[lines.index("") + 1 :]), time=_now())


def _now() -> str:
    return time.strftime("%H:%M:%S")


def _note(coverage: "Coverage") -> str:
    """Return in a line what the report of a tab lacks."""
    return "" if coverage.complete else " ".join(" ".join(coverage.remarks()).split())


def failed(error: PageInspectError) -> ScreenReading:
    """Return the reading for an error."""
    return ScreenReading(
        error=error.message, hint=error.hint, status=int(error.exit_code), time=_now()
    )
