# SPDX-License-Identifier: GPL-2.0-only
"""Counts the pages of each owner, and joins the pfn ranges of owners."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from ..classify.batches import Pfns
from ..model.ranges import Range, merge
from .assign import Assigned
from .kind import Keys
from .table import Kinds

_MERGE_AT = 1 << 16
"""The number of rows at which the counts of equal owners are first added up."""


@dataclass(frozen=True, slots=True, eq=False)
class OwnerPages:
    """Pages by owner: one row for each kind, key and cgroup."""

    kinds: Kinds
    keys: Keys
    groups: Keys
    """The memcg word of the folio; 0 if pages are not counted by cgroup."""
    pages: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.kinds)

    def where(self, rows: npt.NDArray[np.bool_] | Pfns | slice) -> "OwnerPages":
        """Return some of the rows."""
        return OwnerPages(*(getattr(self, name)[rows] for name in self.__slots__))

    def largest_first(self) -> "OwnerPages":
        """Return the rows, those with most pages first."""
        return self.where(np.argsort(-self.pages, kind="stable"))

    @property
    def total(self) -> int:
        """The number of pages of all rows."""
        return int(self.pages.sum())


def no_pages() -> OwnerPages:
    """Return OwnerPages without rows."""
    words = np.empty(0, np.uint64)
    return OwnerPages(np.empty(0, np.int16), words, words, np.empty(0, np.int64))


def added(parts: Iterable[OwnerPages]) -> OwnerPages:
    """Return the sum of several counts, sorted by kind, key and cgroup."""
    every = [no_pages(), *parts]
    kinds, keys, groups, pages = (
        np.concatenate([getattr(part, name) for part in every]) for name in OwnerPages.__slots__
    )
    order = np.lexsort((groups, keys, kinds))
    kinds, keys, groups, pages = kinds[order], keys[order], groups[order], pages[order]
    begins = np.ones(len(kinds), np.bool_)
    begins[1:] = (kinds[1:] != kinds[:-1]) | (keys[1:] != keys[:-1]) | (groups[1:] != groups[:-1])
    at = np.flatnonzero(begins)
    sums = np.add.reduceat(pages, at) if len(at) else pages
    return OwnerPages(kinds[at], keys[at], groups[at], sums)


def count(pieces: Assigned, groups: Keys | None = None) -> OwnerPages:
    """Return the pages of each owner; `groups` is the memcg word of each piece, if needed."""
    if groups is None:
        groups = np.zeros(len(pieces.kinds), np.uint64)
    return added((OwnerPages(pieces.kinds, pieces.keys, groups, pieces.lengths),))


class OwnerSums:
    """Adds up OwnerPages in memory that grows with the number of owners."""

    def __init__(self) -> None:
        self._parts: list[OwnerPages] = []
        self._rows = 0
        self._merge_at = _MERGE_AT

    def add(self, other: OwnerPages) -> None:
        """Add the counts of other pages."""
        self._parts.append(other)
        self._rows += len(other)
        if self._rows > self._merge_at:
            merged = self.counts()
            self._parts, self._rows = [merged], len(merged)
            self._merge_at = max(_MERGE_AT, 2 * len(merged))

    def counts(self) -> OwnerPages:
        """Return the pages of each owner."""
        return added(self._parts)


@dataclass(frozen=True, slots=True, eq=False)
class OwnerRanges:
    """pfn ranges, sorted and disjoint, with the owner of each; adjacent ones are joined."""

    starts: Pfns
    ends: Pfns
    kinds: Kinds
    keys: Keys

    def of(self, rows: npt.NDArray[np.bool_]) -> list[Range]:
        """Return some ranges as pairs."""
        return merge(zip(self.starts[rows].tolist(), self.ends[rows].tolist(), strict=True))

    def by_owner(self) -> dict[tuple[int, int], list[Range]]:
        """Return the ranges of each owner, by the number of its kind and its key."""
        order = np.lexsort((self.keys, self.kinds))
        kinds, keys = self.kinds[order], self.keys[order]
        begins = np.ones(len(order), np.bool_)
        begins[1:] = (kinds[1:] != kinds[:-1]) | (keys[1:] != keys[:-1])
        at = np.flatnonzero(begins)
        pairs = list(zip(self.starts[order].tolist(), self.ends[order].tolist(), strict=True))
        bounds = [*at.tolist(), len(order)]
        owners = zip(kinds[at].tolist(), keys[at].tolist(), strict=True)
        return {owner: pairs[a:b] for owner, (a, b) in zip(owners, pairwise(bounds), strict=True)}


def ranges_of(parts: Iterable[Assigned]) -> OwnerRanges:
    """Return the ranges of pieces, given in order of pfn."""
    every = list(parts)
    starts, lengths, kinds, keys = (
        np.concatenate([empty, *(getattr(part, name) for part in every)])
        for name, empty in (
            ("starts", np.empty(0, np.int64)),
            ("lengths", np.empty(0, np.int64)),
            ("kinds", np.empty(0, np.int16)),
            ("keys", np.empty(0, np.uint64)),
        )
    )
    ends = starts + lengths
    begins = np.ones(len(starts), np.bool_)
    begins[1:] = (starts[1:] != ends[:-1]) | (kinds[1:] != kinds[:-1]) | (keys[1:] != keys[:-1])
    last = np.append(begins[1:], True)[: len(begins)]
    return OwnerRanges(starts[begins], ends[last], kinds[begins], keys[begins])
