# SPDX-License-Identifier: GPL-2.0-only
"""Divides runs of pages into cells, and finds what most pages of each cell are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..model.ranges import Range, merge

Integers = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]

NOTHING = 255
"""The code of a cell in which no page has a run."""
MOST_CODES = 32
"""Codes of runs are smaller."""
_CHUNK = 1 << 14
"""Cells that are counted at a time."""
_PIECE = 1 << 18
"""Runs that are looked at together."""


@dataclass(frozen=True, slots=True, eq=False)
class CodedRuns:
    """Runs of pages that have one code each: sorted by pfn, without overlaps."""

    starts: Integers
    lengths: Integers
    codes: npt.NDArray[Any]
    """Integers from 0; cells_of() takes those below MOST_CODES."""

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def ends(self) -> Integers:
        """The pfn after each run, (n,)."""
        return self.starts + self.lengths

    def where(self, rows: npt.NDArray[np.bool_] | Integers) -> "CodedRuns":
        """Return some of the runs."""
        return CodedRuns(self.starts[rows], self.lengths[rows], self.codes[rows])

    def within(self, wanted: Sequence[Range]) -> "CodedRuns":
        """Return the parts of the runs in sorted disjoint ranges."""
        parts = []
        for start, end in wanted:
            low, high, codes = self.between(start, end)
            parts.append((low, high - low, codes))
        if not parts:
            return self.where(np.zeros(0, np.int64))
        return CodedRuns(*map(np.concatenate, zip(*parts, strict=True)))

    def between(self, start: int, end: int) -> tuple[Integers, Integers, npt.NDArray[Any]]:
        """Return the first pfn, the pfn after the last, and the code of each run in a range."""
        first = max(int(np.searchsorted(self.starts, start, "right")) - 1, 0)
        if first < len(self) and self.starts[first] + self.lengths[first] <= start:
            first += 1
        rows = slice(first, int(np.searchsorted(self.starts, end)))
        starts = self.starts[rows]
        ends = np.minimum(starts + self.lengths[rows], end)
        return np.maximum(starts, start), ends, self.codes[rows]

    def pages(self, codes: int) -> Integers:
        """Return the pages of each code below `codes`, (codes,)."""
        total = np.zeros(codes, np.int64)
        for part in self._parts():
            np.add.at(total, part.codes, part.lengths)
        return total

    def _parts(self) -> "Iterator[CodedRuns]":
        """Yield the runs in pieces, so that what is computed of them takes little memory."""
        for i in range(0, len(self), _PIECE):
            piece = slice(i, i + _PIECE)
            yield CodedRuns(self.starts[piece], self.lengths[piece], self.codes[piece])

    def windows(self, size: int) -> list[Range]:
        """Return the pfns, in whole multiples of `size`, that have runs: sorted and disjoint."""
        found: list[Range] = []
        for part in self._parts():
            first, last = part.starts // size, (part.ends - 1) // size + 1
            apart = np.flatnonzero(first[1:] > last[:-1]) + 1
            begins, ends = first[np.append(0, apart)], last[np.append(apart - 1, -1)]
            found += zip((begins * size).tolist(), (ends * size).tolist(), strict=True)
        return merge(found)


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """What cells of 1 << shift pages have, in the order of pfns."""

    codes: Codes
    """The code of most pages of each cell, the smallest of equals; NOTHING without pages, (n,)."""
    shares: npt.NDArray[np.float32]
    """The part of the cell's pfns that have this code, 0 to 1, (n,)."""
    pages: npt.NDArray[np.int32]
    """Pages in each cell that have a run, (n,)."""


def cells_of(runs: CodedRuns, windows: Sequence[Range], shift: int) -> Cells:
    """Return the cells of windows, whose edges are multiples of 1 << shift, one after another.

    Cost grows with runs and cells. Counts of some 10,000 cells are in memory at a time.
    """
    n = sum(end - start for start, end in windows) >> shift
    cells = Cells(np.empty(n, np.uint8), np.empty(n, np.float32), np.empty(n, np.int32))
    at = 0
    for start, end in _chunks(windows, _CHUNK << shift):
        low, high, codes = runs.between(start, end)
        counts = _counts(low - start, high - start, codes, shift, (end - start) >> shift)
        place = slice(at, at + len(counts))
        present = counts.sum(axis=1)
        most = counts.argmax(axis=1)
        cells.codes[place] = np.where(present > 0, most, NOTHING)
        cells.shares[place] = counts.max(axis=1) / (1 << shift)
        cells.pages[place] = present
        at += len(counts)
    return cells


def _counts(
    low: Integers, high: Integers, codes: Codes, shift: int, n: int
) -> npt.NDArray[np.int32]:
    """Return the pages of each code in each of n cells, (n, codes), from runs within them."""
    width = int(codes.max()) + 1 if len(codes) else 1
    first = low >> shift
    pieces = ((high - 1) >> shift) + 1 - first
    # A run that crosses edges of cells is cut there: piece j of a run is in its cell first + j.
    of_run = np.repeat(np.arange(len(low)), pieces)
    cell = first[of_run] + np.arange(len(of_run)) - (np.cumsum(pieces) - pieces)[of_run]
    begin = np.maximum(low[of_run], cell << shift)
    length = np.minimum(high[of_run], (cell + 1) << shift) - begin
    counts = np.bincount(cell * width + codes[of_run], length, n * width)
    return counts.astype(np.int32).reshape(n, width)


def _chunks(windows: Sequence[Range], size: int) -> Iterator[Range]:
    for start, end in windows:
        for low in range(start, end, size):
            yield low, min(low + size, end)


def differing(left: CodedRuns, right: CodedRuns) -> CodedRuns:
    """Return the pfns that either side has: code 1 where the codes differ, or one side has none."""
    edges = np.unique(np.concatenate((left.starts, left.ends, right.starts, right.ends)))
    low, high = edges[:-1], edges[1:]
    codes = [_codes_at(side, low) for side in (left, right)]
    there = (codes[0] >= 0) | (codes[1] >= 0)
    changed = (codes[0] != codes[1]).astype(np.uint8)
    return CodedRuns(low[there], (high - low)[there], changed[there])


def _codes_at(runs: CodedRuns, pfns: Integers) -> Integers:
    """Return the code of the run with each pfn, (n,); -1 where there is none."""
    if not len(runs):
        return np.full(len(pfns), -1, np.int64)
    rows = np.searchsorted(runs.starts, pfns, "right") - 1
    inside = (rows >= 0) & (pfns < runs.ends[rows])
    return np.where(inside, runs.codes[rows].astype(np.int64), -1)
