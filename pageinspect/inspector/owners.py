# SPDX-License-Identifier: GPL-2.0-only
"""Counts the pages of each owner, and finds the pages of given owners."""

from typing import TYPE_CHECKING

from ..errors import PageInspectError
from ..kernel.counters import read_counters
from ..model.counters import Counters
from ..owners.counters import compare_owners
from ..owners.table import KINDS
from ..report.base import coverage_of
from ..report.overlaps import overlaps_of
from ..report.owner_rows import OwnerRows, check_by, kind_sums
from ..report.owners import DEFAULT_TOP, OwnersReport
from ..report.selection import Request
from .fold import Fold
from .inspector import Inspector, marking_of
from .lost_pages import with_pointer
from .owner_finder import owner_finder
from .owner_walk import OwnerWalk
from .selection import select

if TYPE_CHECKING:
    from ..analysis.counter_check import CounterCheck


def count_owners(
    inspector: Inspector,
    by: str,
    request: Request,
    *,
    fold: Fold,
    top: int | None = None,
    name_all: bool = True,
) -> OwnersReport:
    """Count the selected pages by owner; raises PageInspectError.

    `by` is one of BY, `top` the number of owners to show: see OwnersReport. Without `name_all`, of
    kinds with many owners only those with most pages are named, which is faster.
    """
    check_by(by)
    wanted, selection = select(inspector, request, fold)
    before = _counters(inspector) if request.everything else None
    finder = owner_finder(inspector)
    total = OwnerWalk(finder, selection, fold, cgroups=by == "cgroup").counted(inspector, wanted)
    pages = total.pages.counts()
    after = _counters(inspector) if before and inspector.target.provenance.changing else before
    most = DEFAULT_TOP if top is None else top
    named = None if name_all and by != "kind" else most or None
    if inspector.layout.unavailable:
        # Owners without names are one row.
        named = None
    rows = OwnerRows(finder.names, by, named, inspector.layout.page_size, whole=request.everything)
    rows.of(pages, total.slabs.bytes)
    coverage = coverage_of(
        inspector.target.provenance,
        inspector.layout,
        selection.spanned,
        total.unreadable,
        tuple(dict.fromkeys((*selection.missing, *finder.problems, *total.slabs.problems))),
    )
    checks: tuple[CounterCheck, ...] = ()
    if before is not None and after is not None and not total.unreadable:
        by_kind = {KINDS[k].name: int(n) for k, n in kind_sums(pages)}
        marking = marking_of(inspector.target)
        checks = compare_owners(
            total.uses.totals(), by_kind, finder.structures, before, after, marking
        )
    return OwnersReport(
        inspector.target.provenance,
        inspector.layout,
        with_pointer(inspector, coverage),
        by,
        rows.rows,
        rows.unnamed,
        rows.others,
        rows.largest,
        checks,
        overlaps_of(total.owned.overlaps),
        top,
    )


def _counters(inspector: Inspector) -> Counters | None:
    try:
        return read_counters(inspector.target.prog)
    except PageInspectError:
        return None
