# SPDX-License-Identifier: GPL-2.0-only
"""Counts the pages of each owner, and finds the pages of given owners."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.totals import UseTally
from ..classify import Pages
from ..classify.details import Detail
from ..classify.words import HEAD_MEMCG
from ..errors import PageInspectError, UsageError, did_you_mean
from ..kernel.counters import read_counters
from ..model.counters import Counters
from ..model.ranges import Range
from ..owners.assign import Assigned, Assigner
from ..owners.counters import compare_owners
from ..owners.counts import OwnerPages, OwnerSums, count
from ..owners.table import KINDS, NUMBER
from ..report.base import coverage_of
from ..report.owners import BY, Overlap, OwnerRow, OwnersReport
from ..report.selection import Selection
from .fold import Fold
from .inspector import Inspector, marking_of
from .owner_finder import OwnerFinder, owner_finder
from .owner_names import OwnerName, OwnerNames
from .selection import select

if TYPE_CHECKING:
    from ..analysis.counter_check import CounterCheck

DEFAULT_TOP = 10
"""The number of rows of tables, and of largest owners."""
VMALLOC_KINDS = ("vmalloc", "stack", "module", "bpf")
LAZY = ("file", "shmem")
"""Kinds with many owners, each with a key of its own: only those that are shown are named."""


@dataclass(slots=True)
class _Counted:
    """What one piece of a walk, or all of them, has counted."""

    pages: OwnerSums
    overlaps: np.ndarray[tuple[int, int], np.dtype[np.int64]]
    tally: UseTally
    unreadable: int = 0

    def merge(self, other: "_Counted") -> None:
        self.pages.add(other.pages.counts())
        self.overlaps += other.overlaps
        self.tally.merge(other.tally)
        self.unreadable += other.unreadable


def count_owners(
    inspector: Inspector,
    by: str,
    pfn: Sequence[str] = (),
    types: Sequence[str] = (),
    uses: Sequence[str] = (),
    owners: Sequence[str] = (),
    *,
    fold: Fold,
    top: int | None = None,
) -> OwnersReport:
    """Count the selected pages by owner; raises PageInspectError.

    `by` is one of BY. At most `top` rows are named, those with most pages; None is all. With
    by="kind" all kinds are rows, and the largest owners are named.
    """
    if by not in BY:
        raise UsageError(
            f"owners cannot be counted by {by!r}",
            did_you_mean(by, BY, f"choose from {', '.join(BY)}"),
        )
    wanted, selection = select(inspector, pfn, types, uses, owners=owners, fold=fold)
    whole = selection.everything and not (pfn or owners)
    before = _counters(inspector) if whole else None
    finder = owner_finder(inspector)
    total = _walked(inspector, finder, wanted, selection, fold, cgroups=by == "cgroup")
    pages = total.pages.counts()
    after = _counters(inspector) if before and inspector.target.provenance.changing else before
    rows = _Rows(finder.names, by, top).of(pages)
    coverage = coverage_of(
        inspector.target.provenance,
        inspector.layout,
        selection.spanned,
        total.unreadable,
        tuple(dict.fromkeys((*selection.missing, *finder.problems))),
    )
    checks: tuple[CounterCheck, ...] = ()
    if before is not None and after is not None and not total.unreadable:
        by_kind = {KINDS[k].name: int(n) for k, n in _kind_sums(pages)}
        marking = marking_of(inspector.target)
        checks = compare_owners(
            total.tally.totals(), by_kind, finder.structures, before, after, marking
        )
    return OwnersReport(
        inspector.target.provenance,
        inspector.layout,
        coverage,
        by,
        rows.shown,
        rows.more,
        rows.others,
        rows.largest,
        checks,
        tuple(_overlaps(total.overlaps)),
    )


def _counters(inspector: Inspector) -> Counters | None:
    try:
        return read_counters(inspector.target.prog)
    except PageInspectError:
        return None


def _walked(
    inspector: Inspector,
    finder: OwnerFinder,
    wanted: Sequence[Range],
    selection: Selection,
    fold: Fold,
    *,
    cgroups: bool,
) -> _Counted:
    layout = inspector.layout
    detail: Detail = "cgroup" if cgroups else "owner"

    def fresh() -> _Counted:
        overlaps = np.zeros((len(KINDS), len(KINDS)), np.int64)
        return _Counted(OwnerSums(), overlaps, UseTally(layout))

    def work(copy: Inspector, piece: Sequence[Range]) -> _Counted:
        found, assigner = fresh(), finder.assigner(layout)
        for pages, pieces in finder.walk(copy, piece, assigner, detail):
            found.tally.add(pages)
            found.unreadable += pages.unreadable
            mask = None if selection.everything else selection.of(pages)
            if mask is not None:
                pieces = pieces.where(mask[pieces.rows])
            groups = pages.read(HEAD_MEMCG)[pieces.rows] if cgroups else None
            found.pages.add(count(pieces, groups))
        found.overlaps += assigner.overlaps
        return found

    total = fresh()
    for part in fold(inspector, wanted, work):
        total.merge(part)
    return total


def _kind_sums(pages: OwnerPages) -> Iterator[tuple[int, int]]:
    sums = np.bincount(pages.kinds, pages.pages, len(KINDS)).astype(np.int64)
    return ((number, int(sums[number])) for number in np.flatnonzero(sums).tolist())


def _overlaps(overlaps: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> Iterator[Overlap]:
    for kind, other in np.argwhere(overlaps).tolist():
        yield Overlap(KINDS[kind].name, KINDS[other].name, int(overlaps[kind, other]))


@dataclass(slots=True)
class _Rows:
    """Makes the rows of a report from counts."""

    names: OwnerNames
    by: str
    top: int | None
    shown: tuple[OwnerRow, ...] = ()
    more: tuple[int, int] = (0, 0)
    others: int = 0
    largest: tuple[OwnerRow, ...] = ()

    def of(self, pages: OwnerPages) -> "_Rows":
        """Set the rows for these counts."""
        if self.by == "kind":
            self.shown = _sorted(OwnerRow(KINDS[k].name, "", n) for k, n in _kind_sums(pages))
            used = pages.where(pages.kinds != NUMBER["free"])
            self.largest = self._named(used, DEFAULT_TOP if self.top is None else self.top)[0]
        elif self.by == "cgroup":
            self._by_cgroup(pages)
        else:
            wanted = [self.by in ("name", kind.group) for kind in KINDS]
            if self.by == "caller":
                wanted = [kind.name in VMALLOC_KINDS for kind in KINDS]
            mask = np.array(wanted)[pages.kinds]
            self.others = int(pages.pages[~mask].sum())
            self.shown, self.more = self._named(pages.where(mask), self.top)
        return self

    def _named(
        self, pages: OwnerPages, top: int | None
    ) -> tuple[tuple[OwnerRow, ...], tuple[int, int]]:
        """Return the rows of the owners with most pages, and the number and pages of others."""
        rows: dict[OwnerRow, int] = {}
        unnamed = [0, 0]
        for number in np.unique(pages.kinds).tolist():
            kind = KINDS[number]
            of_kind = pages.where(pages.kinds == number)
            order = np.argsort(-of_kind.pages, kind="stable")
            if top is not None and kind.name in LAZY:
                unnamed[0] += len(order[top:])
                unnamed[1] += int(of_kind.pages[order[top:]].sum())
                order = order[:top]
            names = self.names.names(kind.name, of_kind.keys[order].tolist())
            for name, n in zip(names, of_kind.pages[order].tolist(), strict=True):
                row = self._row(kind.name, name)
                rows[row] = rows.get(row, 0) + n
        every = _sorted(row._replace(pages=n) for row, n in rows.items())
        cut = every[top:] if top is not None else ()
        more = unnamed[0] + len(cut), unnamed[1] + sum(row.pages for row in cut)
        return every[:top], more

    def _row(self, kind: str, name: OwnerName) -> OwnerRow:
        if self.by == "caller":
            return OwnerRow("", name.caller or "(no caller)", 0)
        return OwnerRow(kind, name.name, 0, name.file_system)

    def _by_cgroup(self, pages: OwnerPages) -> None:
        charged = pages.where(pages.groups != 0)
        self.others = pages.total - charged.total
        words = np.unique(charged.groups)
        names = dict(zip(words.tolist(), self.names.cgroups(words.tolist()), strict=True))
        rows: dict[OwnerRow, int] = {}
        for kind, word, n in zip(
            charged.kinds.tolist(), charged.groups.tolist(), charged.pages.tolist(), strict=True
        ):
            row = OwnerRow(KINDS[kind].name, names[word], 0)
            rows[row] = rows.get(row, 0) + n
        every = _sorted(row._replace(pages=n) for row, n in rows.items())
        cut = every[self.top :] if self.top is not None else ()
        self.shown, self.more = every[: self.top], (len(cut), sum(row.pages for row in cut))


def _sorted(rows: Iterable[OwnerRow]) -> tuple[OwnerRow, ...]:
    return tuple(sorted(rows, key=lambda row: (-row.pages, row.kind, row.name)))
