# SPDX-License-Identifier: GPL-2.0-only
"""Gives each page one owner: from its use and a word of its folio, or from claims by structures."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..classify.batches import Mask, Pfns
from ..classify.columns import ramp
from ..classify.uses import USE, Pages
from ..model.arch import MAX_ORDER, SECTION_PFNS
from ..model.layout import PageLayout
from ..model.presence import each_once
from ..model.ranges import Range
from .kind import Claims, Keys, Kind
from .table import KINDS, NOBODY, NUMBER, Kinds, kinds_of_uses, may_claim
from .unknown import UNKNOWN

NO_LABEL = (1 << 64) - 1
"""The key of a page whose kind claims by structures, if no structure leads to the page."""
Overlaps = npt.NDArray[np.int64]
"""Pages by [kind that owns them, other kind that claims them]."""

_UNKNOWN = np.int16(NUMBER[UNKNOWN.name])
_HOLD_BLOCKS = ("kernel", "mapped", "reserved")
"""Uses of a first page whose allocation may continue in pages of use idle."""


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """Owners of pages, one row per piece: pages of one run with one owner, in order of pfn."""

    starts: Pfns
    lengths: Pfns
    rows: Pfns
    """The row of `pages` that each piece is part of."""
    kinds: Kinds
    """Indices into KINDS."""
    keys: Keys
    """The key of the kind, or an index into the labels of its Claims."""

    def ranges(self) -> list[Range]:
        """Return the pfn range of each piece."""
        ends = self.starts + self.lengths
        return list(zip(self.starts.tolist(), ends.tolist(), strict=True))

    def where(self, pieces: Mask | Pfns) -> "Assigned":
        """Return some of the pieces."""
        return Assigned(*(getattr(self, name)[pieces] for name in self.__slots__))


def edges_of(claims: Mapping[str, Claims]) -> Pfns:
    """Return the pfns at which claims begin or end, sorted, each once."""
    edges = (edge for found in claims.values() for edge in (found.starts, found.ends))
    return each_once(np.concatenate([np.empty(0, np.int64), *edges]))


class OwnerTally:
    """Counts the wanted pages of a walk by kind of owner."""

    def __init__(self) -> None:
        self.pages = np.zeros(len(KINDS), np.int64)
        """Pages by number of their kind, of batches that Assigner.watch() has yielded."""
        self.overlaps: Overlaps = np.zeros((len(KINDS), len(KINDS)), np.int64)

    def merge(self, other: "OwnerTally") -> None:
        """Add the pages of another part of the walk."""
        self.pages += other.pages
        self.overlaps += other.overlaps

    @property
    def by_kind(self) -> dict[str, int]:
        """Pages by the name of their kind."""
        return dict(zip(NUMBER, self.pages.tolist(), strict=True))


class Assigner:
    """Assigns owners to the pages of batches, and counts pages that several kinds claim."""

    def __init__(
        self, layout: PageLayout, claims: Mapping[str, Claims], edges: Pfns | None = None
    ) -> None:
        """`claims` are the Claims of kinds by name, `edges` their edges_of(), if they are known."""
        self._of_use = kinds_of_uses(layout)
        self._claims = [
            (np.int16(number), kind, claims[kind.name], may_claim(layout, number))
            for number, kind in enumerate(KINDS)
            if kind.name in claims
        ]
        self.edges = edges_of(claims) if edges is None else edges
        self.tally = OwnerTally()

    def watch(self, batches: Iterable[Pages]) -> Iterator[Pages]:
        """Yield the batches, and count the pages of each kind and the overlaps."""
        for pages in batches:
            kinds, wanted = self(pages).kinds, pages.batch.wanted
            lengths = pages.lengths if wanted is None else pages.lengths * wanted
            self.tally.pages += np.bincount(kinds, lengths, len(KINDS)).astype(np.int64)
            yield pages

    def kinds(self, pages: Pages) -> Kinds:
        """Return the kind of owner of each row of a batch, (n,) int16 indices into KINDS.

        The rows are single pages, or runs that were cut at `edges`.
        """
        return self(pages).kinds

    def __call__(self, pages: Pages) -> Assigned:
        """Return the owners of all rows of such a batch, wanted or not."""
        kinds = self._of_use[pages.use]
        keys = np.zeros(len(pages), np.uint64)
        for number, kind in _found_in_pages():
            rows = kinds == number
            if rows.any():
                keys[rows] = kind.computed(pages)[rows]
        pieces = Assigned(pages.pfns, pages.lengths, np.arange(len(pages)), kinds, keys)
        found = self._claimed(pieces, pages.use, pages.batch.wanted)
        _follow(pages, pieces)
        pieces.kinds[pieces.kinds == NOBODY] = _UNKNOWN
        self._count_overlaps(pieces, found)
        return pieces

    def _claimed(
        self, pieces: Assigned, use: npt.NDArray[np.uint16], wanted: Mask | None
    ) -> list[tuple[np.int16, Mask]]:
        """Give claimed pieces to the first kind; return which pieces each kind claims rightly."""
        found = []
        first, end = pieces.starts[0], pieces.starts[-1] + pieces.lengths[-1]
        for number, kind, claims, may in self._claims:
            low = np.searchsorted(claims.ends, first, "right")
            high = np.searchsorted(claims.starts, end)
            if kind.owns:
                pieces.keys[pieces.kinds == number] = NO_LABEL
            if low == high:
                continue
            part = Claims(
                claims.starts[low:high], claims.ends[low:high], claims.owners[low:high], ()
            )
            owners = part.at(pieces.starts)
            claimed = owners >= 0
            allowed = claimed & may[use]
            taken = allowed & ((pieces.kinds == NOBODY) | (pieces.kinds == number))
            pieces.kinds[taken] = number
            pieces.keys[taken] = owners[taken].astype(np.uint64)
            counted = claimed if kind.exact else allowed
            if not kind.rest:
                found.append((number, counted if wanted is None else counted & wanted))
        return found

    def _count_overlaps(self, pieces: Assigned, found: list[tuple[np.int16, Mask]]) -> None:
        for number, claimed in found:
            others = claimed & (pieces.kinds != number)
            owners, lengths = pieces.kinds[others], pieces.lengths[others]
            np.add.at(self.tally.overlaps, (owners, np.full(len(owners), number)), lengths)


def _found_in_pages() -> Iterator[tuple[int, Kind]]:
    return ((number, kind) for number, kind in enumerate(KINDS) if kind.reads)


def _follow(pages: Pages, pieces: Assigned) -> None:
    """Give idle pages after the first page of an allocation to the owner of that page."""
    single = pages.folio_order == 0
    idle = (pieces.kinds == NOBODY) & (pages.use == USE["idle"]) & single
    if not idle.any():
        return
    first = np.isin(pages.use, [USE[name] for name in _HOLD_BLOCKS]) & single
    holders = first_pages(pieces.starts, pieces.starts + pieces.lengths, idle, first)
    held = np.flatnonzero(holders >= 0)
    pieces.kinds[held], pieces.keys[held] = pieces.kinds[holders[held]], pieces.keys[holders[held]]


def first_pages(starts: Pfns, ends: Pfns, idle: Mask, first: Mask) -> Pfns:
    """Return for each idle range of pages the index of the range that begins its allocation, or -1.

    The ranges are sorted and disjoint. Only the first page of an allocation that is not compound
    has references; the idle pages after it lie in an aligned block. If there are idle pages up to
    beyond the block, it is not known where the allocation ends, and they are not part of it.
    """
    found = np.full(len(starts), -1)
    joined = (starts[1:] == ends[:-1]) & (starts[1:] % SECTION_PFNS != 0)
    adjacent = np.append(False, joined)[: len(starts)]
    begins = idle & ~(adjacent & np.append(False, idle[:-1])[: len(idle)])
    at, stops = np.flatnonzero(begins), np.flatnonzero(begins | ~idle)
    stop = np.append(stops, len(idle))[np.searchsorted(stops, at, "right")]
    heads = starts[at] - 1
    aligned = heads | 1 << MAX_ORDER
    whole = adjacent[at] & first[at - 1] & (ends[stop - 1] <= heads + (aligned & -aligned))
    at, sizes = at[whole], (stop - at)[whole]
    found[np.repeat(at, sizes) + ramp(sizes)] = np.repeat(at - 1, sizes)
    return found
