# SPDX-License-Identifier: GPL-2.0-only
"""Counts the pages of each owner, and finds the pages of given owners."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.totals import UseTally
from ..classify import Pages
from ..classify.words import HEAD_MEMCG
from ..errors import PageInspectError, UsageError, did_you_mean
from ..kernel.counters import read_counters
from ..model.counters import Counters
from ..model.ranges import Range
from ..owners.assign import Assigned, OwnerTally
from ..owners.counters import compare_owners
from ..owners.counts import OwnerPages, OwnerSums, count
from ..owners.kind import Keys, Kind
from ..owners.table import KINDS, NUMBER
from ..report.base import coverage_of
from ..report.overlaps import overlaps_of
from ..report.owners import BY, DEFAULT_TOP, OwnerRow, OwnersReport
from ..report.selection import Selection
from .fold import Fold
from .inspector import Inspector, marking_of
from .lost_pages import with_pointer
from .owner_finder import OwnerFinder, owner_finder
from .owner_names import OwnerName, OwnerNames
from .selection import Request, select
from .slab_cgroups import SlabCharges, charged_objects

if TYPE_CHECKING:
    from ..analysis.counter_check import CounterCheck
    from ..classify.details import Detail

VMALLOC_KINDS = ("vmalloc", "stack", "module", "bpf")
LAZY = ("file",)
"""Kinds with many owners, each with a name of its own: only those that are shown are named."""


@dataclass(slots=True)
class _Counted:
    """What one piece of a walk, or all of them, has counted."""

    pages: OwnerSums
    uses: UseTally
    owned: OwnerTally = field(default_factory=OwnerTally)
    slabs: SlabCharges = field(default_factory=SlabCharges)
    unreadable: int = 0

    def merge(self, other: "_Counted") -> None:
        self.slabs.merge(other.slabs)
        self.pages.add(other.pages.counts())
        self.uses.merge(other.uses)
        self.owned.merge(other.owned)
        self.unreadable += other.unreadable


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
            did_you_mean(by, BY, f"choose from {', '.join(BY)}"),
        )
    wanted, selection = select(inspector, request, fold)
    before = _counters(inspector) if request.everything else None
    finder = owner_finder(inspector)
    total = _walked(inspector, finder, wanted, selection, fold, cgroups=by == "cgroup")
    pages = total.pages.counts()
    after = _counters(inspector) if before and inspector.target.provenance.changing else before
    most = DEFAULT_TOP if top is None else top
    named = None if name_all and by != "kind" else most or None
    rows = _Rows(finder.names, by, named, inspector.layout.page_size)
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
        return _Counted(OwnerSums(), UseTally(layout))

    def work(copy: Inspector, piece: Sequence[Range]) -> _Counted:
        found, assigner = fresh(), finder.assigner(layout)
        for pages, found_pieces in finder.walk(copy, piece, assigner, detail):
            pieces = found_pieces
            found.uses.add(pages)
            found.unreadable += pages.unreadable
            mask = None if selection.everything else selection.of(pages)
            if mask is not None:
                pieces = pieces.where(mask[pieces.rows])
            groups = _groups(copy, pages, pieces, found.slabs) if cgroups else None
            found.pages.add(count(pieces, groups))
        found.owned.merge(assigner.tally)
        return found

    total = fresh()
    for part in fold(inspector, wanted, work):
        total.merge(part)
    return total


def _groups(copy: Inspector, pages: Pages, pieces: Assigned, charges: SlabCharges) -> Keys:
    """Return the memcg word of each piece, and add slab objects, which have words of their own.

    Objects of slabs of which not all pages are selected are not added: which pages they are in is
    not known.
    """
    groups = pages.read(HEAD_MEMCG)[pieces.rows]
    slabs = pieces.kinds == NUMBER["slab"]
    groups[slabs] = 0
    if not slabs.any():
        return groups
    rows, lengths = pieces.rows[slabs], pieces.lengths[slabs]
    orders = pages.folio_order[rows].astype(np.int64)
    of_piece = np.where(orders > 0, pages.heads[rows], pieces.starts[slabs])
    heads, first, at = np.unique(of_piece, return_index=True, return_inverse=True)
    whole = np.bincount(at, lengths) == 1 << orders[first]
    if whole.any():
        found = charged_objects(copy, heads[whole])
        room = int((1 << orders[first][whole]).sum()) * copy.layout.page_size
        if found.bytes.total() > room:
            found = SlabCharges(unreadable=int(whole.sum()))
        charges.merge(found)
    return groups


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
            self.rows = self._by_cgroup(charged, slab_bytes)
            self.others = pages.total - sum(row.pages for row in self.rows)
        else:
            mask = np.array([_has_names(kind, self.by) for kind in KINDS])[pages.kinds]
            self.others = int(pages.pages[~mask].sum())
            self.rows = self._named(pages.where(mask))
        return self

    def _named(self, pages: OwnerPages) -> tuple[OwnerRow, ...]:
        """Return the rows of the owners; set `unnamed` for those that are not named."""
        rows: dict[OwnerRow, int] = {}
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
                    rows[row] = rows.get(row, 0) + pages_of_row
        return _sorted(row._replace(pages=n) for row, n in rows.items())

    def _split(
        self, kind: str, key: int, name: OwnerName, pages: int
    ) -> Iterator[tuple[OwnerRow, int]]:
        """Yield the row of an owner with its pages; reserved huge pages have a row of their own."""
        reserved = self.names.reserved_huge_pages.get(key, 0) if kind == "hugetlb" else 0
        if 0 < reserved <= pages:
            text = name.name.replace("free", "reserved")
            yield self._row(kind, name._replace(name=text)), reserved
            pages -= reserved
        if pages:
            yield self._row(kind, name), pages

    def _row(self, kind: str, name: OwnerName) -> OwnerRow:
        if self.by == "caller":
            return OwnerRow("", name.caller or "(no caller)", 0)
        return OwnerRow(kind, name.name, 0, name.file_system)

    def _by_cgroup(self, pages: OwnerPages, slab_bytes: Mapping[int, int]) -> tuple[OwnerRow, ...]:
        words = sorted({*np.unique(pages.groups).tolist(), *slab_bytes})
        names = dict(zip(words, self.names.cgroups(words), strict=True))
        rows: dict[OwnerRow, int] = {}
        columns = pages.kinds.tolist(), pages.groups.tolist(), pages.pages.tolist()
        for kind, word, n in zip(*columns, strict=True):
            row = OwnerRow(KINDS[kind].name, names[word], 0)
            rows[row] = rows.get(row, 0) + n * self.page_size
        for word, n in slab_bytes.items():
            row = OwnerRow("slab", names[word], 0)
            rows[row] = rows.get(row, 0) + n
        return _sorted(
            row._replace(pages=n // self.page_size, more_bytes=n % self.page_size)
            for row, n in rows.items()
        )


def _has_names(kind: Kind, by: str) -> bool:
    """Return whether the names of a kind are what --by asks for."""
    if by == "caller":
        return kind.name in VMALLOC_KINDS
    return by in ("name", kind.group)


def _sorted(rows: Iterable[OwnerRow]) -> tuple[OwnerRow, ...]:
    return tuple(sorted(rows, key=lambda row: (-row.pages, row.kind, row.name)))
