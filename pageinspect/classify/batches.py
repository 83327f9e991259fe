# SPDX-License-Identifier: GPL-2.0-only
"""The input of the columns: struct pages of consecutive pfns, one row per page or per run."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..model.batch import PageBatch, Words
from .reads import RunScope

Mask = npt.NDArray[np.bool_]
Pfns = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RunBatch:
    """Consecutive pfns as runs: one row per run, with the words of the run's first page.

    `offsets`, (k,) int64, has the start of each run, in pfns from `first`; `size` is the number of
    pfns. `words`, `readable` and `wanted` are as in PageBatch, with one row per run. `tail_rows`,
    (j,) int64, has the rows of the heads of compound pages, and `tails`, (j, words per page)
    uint64, the struct page that follows each of them. `scope` refuses to read anything in which
    pages of a run may differ.
    """

    first: int
    size: int
    offsets: Pfns
    words: Words
    readable: Mask | None
    wanted: Mask | None
    tail_rows: Pfns
    tails: Words
    scope: RunScope

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def pfns(self) -> Pfns:
        """The first pfn of each run."""
        return self.offsets + self.first

    @property
    def lengths(self) -> Pfns:
        """The number of pages of each run."""
        return np.diff(self.offsets, append=self.size)

    def rows(self, offsets: Pfns) -> Pfns:
        """Return the rows of the runs that contain these pages, given as offsets from `first`."""
        return np.searchsorted(self.offsets, offsets, "right") - 1

    def word(self, offset: int) -> Words:
        """Return the words at byte `offset` from each run's first struct page, (k,) uint64.

        An offset beyond the struct page is valid for heads of compound pages; other rows get 0.
        """
        width = self.words.shape[1]
        if offset < 8 * width:
            return self.words[:, offset // 8]
        following = np.zeros(len(self), np.uint64)
        following[self.tail_rows] = self.tails[:, offset // 8 - width]
        return following


Batch = PageBatch | RunBatch


def grouped(values: Pfns) -> tuple[Pfns, Pfns]:
    """Return the distinct values, sorted, and for each value its place among them.

    As np.unique(), with a sort that is faster where most values are in order.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    begins = np.ones(len(values), np.bool_)
    begins[1:] = ordered[1:] != ordered[:-1]
    places = np.empty(len(values), np.int64)
    places[order] = np.cumsum(begins) - 1
    return ordered[begins], places


class Batches:
    """Adjacent PageBatches as one; `readable` and `wanted` are as in PageBatch."""

    def __init__(self, parts: Sequence[PageBatch]) -> None:
        self._parts = parts
        self._starts = np.cumsum([0, *map(len, parts)])
        self.first = parts[0].first
        self.readable = _joined([part.readable for part in parts], parts)
        self.wanted = _joined([part.wanted for part in parts], parts)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def words(self) -> Iterator[tuple[int, Words]]:
        """Yield for each part its start, as an offset from `first`, and its words."""
        return zip(self._starts[:-1].tolist(), (part.words for part in self._parts), strict=True)

    def take(self, offsets: Pfns) -> Words:
        """Return a copy of the words of these pages, (k, words per page); `offsets` are sorted."""
        if len(self._parts) == 1:
            return self._parts[0].words[offsets]
        taken = np.empty((len(offsets), self._parts[0].words.shape[1]), np.uint64)
        bounds = np.searchsorted(offsets, self._starts).tolist()
        for i, (start, words) in enumerate(self.words()):
            low, high = bounds[i : i + 2]
            if low < high:
                taken[low:high] = words[offsets[low:high] - start]
        return taken


def _joined(masks: list[Mask | None], parts: Sequence[PageBatch]) -> Mask | None:
    if all(mask is None for mask in masks):
        return None
    return np.concatenate(
        [
            np.ones(len(part), np.bool_) if mask is None else mask
            for mask, part in zip(masks, parts, strict=True)
        ]
    )
