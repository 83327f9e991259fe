# SPDX-License-Identifier: GPL-2.0-only
"""Counts the pages of a kernel, and compares the totals with the kernel's own counters."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..analysis.counter_check import CounterCheck, compare_counters
from ..analysis.totals import Tally, TypeTally, UseTally
from ..errors import PageInspectError
from ..kernel.counters import read_counters
from ..model.counters import Counters
from ..model.ranges import Range
from ..report import summary
from ..report.dimensions import check_dimensions
from ..report.selection import Request, check_available
from ..report.summary import PageCounts, SummaryReport, count
from .fold import Fold
from .inspector import Inspector, marking_of
from .lost_pages import with_pointer
from .selection import select

if TYPE_CHECKING:
    from ..classify.details import Detail
    from .owner_finder import OwnerFinder


def summarise(
    inspector: Inspector,
    by: Sequence[str],
    request: Request,
    *,
    fold: Fold,
    counters: bool = True,
) -> SummaryReport:
    """Count the selected pages by the dimensions named; raises PageInspectError.

    With `counters`, totals of all pages by type or by use are compared with the kernel's counters.
    """
    check_dimensions(by)
    check_available(inspector.layout, *by)
    wanted, selection = select(inspector, request, fold)
    finder = _finder(inspector) if "owner" in by else None
    tally_of = TypeTally if list(by) == ["type"] else UseTally
    compared = counters and list(by) in (["type"], ["use"]) and request.everything
    detail: Detail = "use" if "use" in by or selection.uses is not None else "type"
    if finder is not None:
        detail = "owner"

    def work(copy: Inspector, piece: Sequence[Range]) -> tuple[PageCounts, Tally]:
        assigner = None if finder is None else finder.assigner(copy.layout)
        edges = None if assigner is None else assigner.edges
        columns = copy.sections_in_runs(piece, detail, edges)
        tally = tally_of(copy.layout)
        if compared:
            columns = tally.watch(columns)
        kinds = None if assigner is None else assigner.kinds
        return count(copy.layout, selection, by, columns, kinds), tally

    before = _counters(inspector) if compared else None
    counts, tally = PageCounts(), tally_of(inspector.layout)
    for part, tallied in fold(inspector, wanted, work):
        counts.add(part)
        tally.merge(tallied)
    report = summary.summarise(
        inspector.target.provenance, inspector.layout, inspector.memory_map, selection, by, counts
    )
    if finder is not None and finder.problems:
        missing = (*report.coverage.missing, *finder.problems)
        report = replace(report, coverage=replace(report.coverage, missing=missing))
    report = replace(report, coverage=with_pointer(inspector, report.coverage))
    if before is not None and report.coverage.complete:
        report = replace(report, counters=_compared(inspector, tally, before))
    return report


def _finder(inspector: Inspector) -> "OwnerFinder":
    # Imported here: to find owners takes many modules.
    from .owner_finder import owner_finder

    return owner_finder(inspector)


def _counters(inspector: Inspector) -> Counters | None:
    try:
        return read_counters(inspector.target.prog)
    except PageInspectError:
        return None


def _compared(inspector: Inspector, tally: Tally, before: Counters) -> tuple[CounterCheck, ...]:
    """Return the counter checks of a walk; none if the kernel's counters cannot be read."""
    after = _counters(inspector) if inspector.target.provenance.changing else before
    if after is None:
        return ()
    return compare_counters(tally.totals(), before, after, marking_of(inspector.target))
