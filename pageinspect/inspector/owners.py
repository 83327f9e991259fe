# SPDX-License-Identifier: GPL-2.0-only
"""Counts the pages of each owner, and finds the pages of given owners."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from ..errors import PageInspectError
from ..kernel.counters import read_counters
from ..model.counters import Counters
from ..owners.counters import compare_owners
from ..owners.counts import OwnerPages
from ..owners.table import KINDS
from ..report.base import coverage_of
from ..report.overlaps import overlaps_of
from ..report.owner_rows import OwnerRows, check_by, kind_sums, most_named
from ..report.owners import OwnersReport
from ..report.selection import Request
from .fold import Fold
from .inspector import Inspector, marking_of
from .lost_pages import with_pointer
from .owner_finder import owner_finder
from .owner_names import OwnerNames
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
    named = most_named(inspector.layout, by, top, name_all=name_all)
    page_size = inspector.layout.page_size
    rows = OwnerRows(finder.names, by, named, page_size, whole=request.everything)
    rows.of(pages, sizes_by_cgroup(finder.names, pages, total.slabs.bytes, page_size))
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


def sizes_by_cgroup(
    names: OwnerNames, pages: OwnerPages, slab_bytes: Mapping[int, int], page_size: int
) -> Iterator[tuple[str, str, int]]:
    """Yield kind, name and bytes of the charged pages and slab objects of each cgroup."""
    charged = pages.where(pages.groups != 0)
    words = sorted({*np.unique(charged.groups).tolist(), *slab_bytes})
    if not words:
        return
    of_word = dict(zip(words, names.cgroups(words), strict=True))
    columns = charged.kinds.tolist(), charged.groups.tolist(), charged.pages.tolist()
    for kind, word, n in zip(*columns, strict=True):
        yield KINDS[kind].name, of_word[word], n * page_size
    for word, n in slab_bytes.items():
        yield "slab", of_word[word], n


def _counters(inspector: Inspector) -> Counters | None:
    try:
        return read_counters(inspector.target.prog)
    except PageInspectError:
        return None
