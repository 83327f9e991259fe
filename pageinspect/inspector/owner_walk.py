# SPDX-License-Identifier: GPL-2.0-only
"""Walks pages, and counts them by owner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ..analysis.totals import UseTally
from ..classify import Pages
from ..classify.batches import Mask, Pfns
from ..classify.uses import USE
from ..classify.words import HEAD_MEMCG
from ..model.ranges import Range, merge
from ..owners.assign import Assigned, OwnerTally
from ..owners.counts import OwnerSums, count
from ..owners.kind import Keys
from ..owners.table import NUMBER, Kinds
from ..report.selection import Selection
from .fold import Fold
from .inspector import Inspector
from .owner_finder import OwnerFinder
from .slab_cgroups import SlabCharges, charged_objects

if TYPE_CHECKING:
    from ..classify.details import Detail

TRIES = 3
"""How often idle pages of a running kernel are read again."""


@dataclass(slots=True)
class OwnersCounted:
    """What a walk, or one piece of it, has counted."""

    pages: OwnerSums
    uses: UseTally
    owned: OwnerTally = field(default_factory=OwnerTally)
    slabs: SlabCharges = field(default_factory=SlabCharges)
    idle: list[Range] = field(default_factory=list)
    """Pages of use idle without an owner that were not counted."""
    unreadable: int = 0

    def merge(self, other: "OwnersCounted") -> None:
        """Add what another piece has counted."""
        self.slabs.merge(other.slabs)
        self.idle += other.idle
        self.pages.add(other.pages.counts())
        self.uses.merge(other.uses)
        self.owned.merge(other.owned)
        self.unreadable += other.unreadable


@dataclass(frozen=True, slots=True)
class OwnerWalk:
    """Counts the selected pages by owner and, with `cgroups`, by memory cgroup."""

    finder: OwnerFinder
    selection: Selection
    fold: Fold
    cgroups: bool

    def counted(self, inspector: Inspector, wanted: Sequence[Range]) -> OwnersCounted:
        """Count the wanted pages.

        On a running kernel, pages that are freed during the walk are on per-CPU lists that were
        followed before it: idle pages without an owner are read again, after the lists.
        """
        tries = TRIES if inspector.target.provenance.changing else 0
        total = self._walked(inspector, wanted, hold=tries > 0)
        while total.idle:
            tries -= 1
            left, total.idle = merge(total.idle), []
            again = self._walked(inspector.refreshed(), left, hold=tries > 0)
            total.pages.add(again.pages.counts())
            total.slabs.merge(again.slabs)
            total.idle = again.idle
        return total

    def _walked(
        self, inspector: Inspector, wanted: Sequence[Range], *, hold: bool
    ) -> OwnersCounted:
        """Walk the pages; with `hold`, idle pages without an owner are returned uncounted."""
        layout = inspector.layout
        detail: Detail = "cgroup" if self.cgroups else "owner"

        def fresh() -> OwnersCounted:
            return OwnersCounted(OwnerSums(), UseTally(layout))

        def work(copy: Inspector, piece: Sequence[Range]) -> OwnersCounted:
            found, assigner = fresh(), self.finder.assigner(layout)
            for pages, assigned in self.finder.walk(copy, piece, assigner, detail):
                found.uses.add(pages)
                found.unreadable += pages.unreadable
                pieces = assigned.where(_selected(self.selection, pages, assigned))
                if hold:
                    idle = are_idle(pages, pieces.rows, pieces.kinds)
                    found.idle += pieces.where(idle).ranges()
                    pieces = pieces.where(~idle)
                groups = _groups(copy, pages, pieces, found.slabs) if self.cgroups else None
                found.pages.add(count(pieces, groups))
            found.owned.merge(assigner.tally)
            return found

        total = fresh()
        for part in self.fold(inspector, wanted, work):
            total.merge(part)
        return total


def _selected(selection: Selection, pages: Pages, pieces: Assigned) -> Mask:
    """Return which pieces are selected. On a running kernel a page may have another owner now."""
    selected = np.ones(len(pieces.kinds), np.bool_)
    mask = None if selection.everything else selection.of(pages)
    if mask is not None:
        selected &= mask[pieces.rows]
    if selection.owned is not None:
        selected &= _are_of(selection.owned, pieces)
    return selected


def _are_of(owned: Mapping[int, Keys], pieces: Assigned) -> Mask:
    found = np.zeros(len(pieces.kinds), np.bool_)
    for number, keys in owned.items():
        found |= (pieces.kinds == number) & np.isin(pieces.keys, keys)
    return found


def are_idle(pages: Pages, rows: Pfns, kinds: Kinds) -> Mask:
    """Return which pieces, of these rows and kinds, are pages without an owner that may be free."""
    unknown: Mask = kinds == NUMBER["unknown"]
    return unknown & (pages.use[rows] == USE["idle"])


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
