# SPDX-License-Identifier: GPL-2.0-only
"""Joins adjacent pages that have the same columns, whole neighbouring folios as well.

What is not stored of a run is where its folios begin. So pages are joined only if a reader can find
that out: the heads of a run are its pfns that are multiples of 1 << order if there are as many of
these as `folios`; otherwise none of its pages is one, or all are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..classify.batches import Mask

Integers = npt.NDArray[np.int64]

_ALIGNED, _ALL, _NONE = range(3)
"""Which pages of a piece are heads: its multiples of 1 << order, or all or none of its pages."""


@dataclass(frozen=True, slots=True, eq=False)
class PageRuns:
    """Runs of pages that have the same values in all columns, sorted by pfn."""

    starts: Integers
    lengths: Integers
    folios: Integers
    """The number of heads in each run."""
    orders: npt.NDArray[np.uint8]
    columns: tuple[npt.NDArray[Any], ...]
    """Other columns; the caller knows which."""
    heads: npt.NDArray[np.uint8]
    """Which pages of the run are heads."""

    def where(self, rows: Mask | Integers) -> "PageRuns":
        """Return some of the runs."""
        return PageRuns(
            self.starts[rows],
            self.lengths[rows],
            self.folios[rows],
            self.orders[rows],
            tuple(column[rows] for column in self.columns),
            self.heads[rows],
        )


def page_runs(
    starts: Integers,
    lengths: Integers,
    orders: npt.NDArray[np.uint8],
    heads: Mask,
    columns: Sequence[npt.NDArray[Any]],
) -> PageRuns:
    """Return the runs of pieces, sorted by pfn; `heads` is whether the pages of each are heads."""
    shift = orders.astype(np.int64)
    # Multiples of 1 << order from the start of the piece up to its end.
    multiples = ((starts + lengths - 1) >> shift) - ((starts - 1) >> shift)
    aligned = multiples == np.where(heads, lengths, 0)
    found = np.where(aligned, _ALIGNED, np.where(heads, _ALL, _NONE)).astype(np.uint8)
    folios = np.where(heads, lengths, 0)
    return _joined(PageRuns(starts, lengths, folios, orders, tuple(columns), found))


def joined(parts: Iterable[PageRuns]) -> PageRuns:
    """Return the runs of at least one part, sorted and joined; parts have no pfn in common."""
    every = list(parts)
    starts, lengths, folios, orders, heads = (
        np.concatenate([getattr(part, name) for part in every])
        for name in ("starts", "lengths", "folios", "orders", "heads")
    )
    columns = zip(*(part.columns for part in every), strict=True)
    runs = PageRuns(starts, lengths, folios, orders, tuple(map(np.concatenate, columns)), heads)
    if (starts[1:] < starts[:-1]).any():
        runs = runs.where(np.argsort(starts, kind="stable"))
    return _joined(runs)


def _joined(runs: PageRuns) -> PageRuns:
    if not len(runs.starts):
        return runs
    begins = np.ones(len(runs.starts), np.bool_)
    changes = begins[1:]
    changes[:] = runs.starts[1:] != runs.starts[:-1] + runs.lengths[:-1]
    for column in (runs.heads, runs.orders, *runs.columns):
        changes |= column[1:] != column[:-1]
    at = np.flatnonzero(begins)
    first = runs.where(at)
    return PageRuns(
        first.starts,
        np.add.reduceat(runs.lengths, at),
        np.add.reduceat(runs.folios, at),
        first.orders,
        first.columns,
        first.heads,
    )
