# SPDX-License-Identifier: GPL-2.0-only
"""Counts the pages of each owner, and finds the pages of given owners."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..errors import PageInspectError, UsageError, did_you_mean
from ..kernel.counters import read_counters
from ..model.counters import Counters
from ..owners.counters import compare_owners
from ..owners.counts import OwnerPages
from ..owners.kind import Kind
from ..owners.table import KINDS, NUMBER
from ..report.base import coverage_of
from ..report.overlaps import overlaps_of
from ..report.owners import BY, DEFAULT_TOP, OwnerRow, OwnersReport
from .fold import Fold
from .inspector import Inspector, marking_of
from .lost_pages import with_pointer
from .owner_finder import owner_finder
from .owner_names import RESERVED, OwnerName, OwnerNames
from .owner_walk import OwnerWalk
from .selection import Request, select

if TYPE_CHECKING:
    from ..analysis.counter_check import CounterCheck

VMALLOC_KINDS = ("vmalloc", "stack", "module", "bpf")
LAZY = ("file",)
"""Kinds with many owners, each with a name of its own: only those that are shown are named."""


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
    if by not in BY:
        raise UsageError(
            f"owners cannot be counted by {by!r}",
            did_you_mean(str(by), BY, f"choose from {', '.join(BY)}"),
        )
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
    rows = _Rows(finder.names, by, named, inspector.layout.page_size, whole=request.everything)
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
        by_kind = {KINDS[k].name: int(n) for k, n in _kind_sums(pages)}
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


def _kind_sums(pages: OwnerPages) -> Iterator[tuple[int, int]]:
    sums = np.bincount(pages.kinds, pages.pages, len(KINDS)).astype(np.int64)
    return ((number, int(sums[number])) for number in np.flatnonzero(sums).tolist())


@dataclass(slots=True)
class _Rows:
    """Makes the rows of a report from counts."""

    names: OwnerNames
    by: str
    most: int | None
    """The number of owners of each kind in LAZY that are named; None is all."""
    page_size: int
    whole: bool
    """Whether all pages are counted, so that numbers of the whole machine apply."""
    rows: tuple[OwnerRow, ...] = ()
    unnamed: tuple[int, int] = (0, 0)
    others: int = 0
    largest: tuple[OwnerRow, ...] = ()

    def of(self, pages: OwnerPages, slab_bytes: Mapping[int, int]) -> "_Rows":
        """Set the rows for these counts."""
        if self.by == "kind":
            self.rows = _sorted(OwnerRow(KINDS[k].name, "", n) for k, n in _kind_sums(pages))
            used = pages.where(pages.kinds != NUMBER["free"])
            self.largest = self._named(used)
            self.unnamed = (0, 0)
        elif self.by == "cgroup":
            charged = pages.where(pages.groups != 0)
            self.rows = cgroup_rows(self.names, charged, slab_bytes, self.page_size)
            self.others = pages.total - sum(row.pages for row in self.rows)
        else:
            mask = np.array([_has_names(kind, self.by) for kind in KINDS])[pages.kinds]
            self.others = int(pages.pages[~mask].sum())
            self.rows = self._named(pages.where(mask))
        return self

    def _named(self, pages: OwnerPages) -> tuple[OwnerRow, ...]:
        """Return the rows of the owners; set `unnamed` for those that are not named."""
        rows: dict[tuple[OwnerRow, int], int] = {}
        for number in np.unique(pages.kinds).tolist():
            of_kind = pages.where(pages.kinds == number).largest_first()
            kind = KINDS[number].name
            if self.most is not None and kind in LAZY:
                rest = of_kind.pages[self.most :]
                self.unnamed = self.unnamed[0] + len(rest), self.unnamed[1] + int(rest.sum())
                of_kind = of_kind.where(slice(self.most))
            names = self.names.names(kind, of_kind.keys.tolist())
            keys = of_kind.keys.tolist()
            for key, name, n in zip(keys, names, of_kind.pages.tolist(), strict=True):
                for row, pages_of_row in self._split(kind, key, name, n):
                    # Each inode is an owner: two deleted files may have the same name.
                    same = row, key if kind in LAZY and row.name else 0
                    rows[same] = rows.get(same, 0) + pages_of_row
        return _sorted(row._replace(pages=n) for (row, _), n in rows.items())

    def _split(
        self, kind: str, key: int, name: OwnerName, pages: int
    ) -> Iterator[tuple[OwnerRow, int]]:
        """Yield the row of an owner with its pages; reserved huge pages have a row of their own."""
        of_whole = self.whole and kind == "hugetlb"
        reserved = self.names.reserved_huge_pages.get(key, 0) if of_whole else 0
        if 0 < reserved <= pages:
            text = name.name.removesuffix("free") + RESERVED
            yield self._row(kind, name._replace(name=text)), reserved
            pages -= reserved
        if pages:
            yield self._row(kind, name), pages

    def _row(self, kind: str, name: OwnerName) -> OwnerRow:
        if self.by == "caller":
            return OwnerRow("", name.caller or "(no caller)", 0)
        return OwnerRow(kind, name.name, 0, name.file_system)


def cgroup_rows(
    names: OwnerNames, pages: OwnerPages, slab_bytes: Mapping[int, int], page_size: int
) -> tuple[OwnerRow, ...]:
    """Return the rows of cgroups by kind, from pages by group and bytes of slab objects."""
    words = sorted({*np.unique(pages.groups).tolist(), *slab_bytes})
    paths = dict(zip(words, names.cgroups(words) if words else (), strict=True))
    rows: dict[OwnerRow, int] = {}
    columns = pages.kinds.tolist(), pages.groups.tolist(), pages.pages.tolist()
    for kind, word, n in zip(*columns, strict=True):
        row = OwnerRow(KINDS[kind].name, paths[word], 0)
        rows[row] = rows.get(row, 0) + n * page_size
    for word, n in slab_bytes.items():
        row = OwnerRow("slab", paths[word], 0)
        rows[row] = rows.get(row, 0) + n
    return _sorted(
        row._replace(pages=n // page_size, more_bytes=n % page_size) for row, n in rows.items()
    )


def _has_names(kind: Kind, by: str) -> bool:
    """Return whether the names of a kind are what --by asks for."""
    if by == "caller":
        return kind.name in VMALLOC_KINDS
    return by in ("name", kind.group)


def _sorted(rows: Iterable[OwnerRow]) -> tuple[OwnerRow, ...]:
    return tuple(sorted(rows, key=lambda row: (-row.pages, -row.more_bytes, row.kind, row.name)))
