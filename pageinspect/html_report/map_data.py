# SPDX-License-Identifier: GPL-2.0-only
"""The map of memory as data: every run of pages, or what is in each cell if there are too many."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..analysis.contiguity import cut
from ..model.snapshot import Snapshot, SnapshotTable
from .names import shown_name
from .owner_list import OwnerList
from .packed import pack

MOST_BYTES = 1_500_000
"""Of the packed data."""
_LEAST_PER_RUN = 1
"""A run takes at least this many bytes of packed data: three and more in what was tried."""
_LEAST_PER_CELL = 6
"""The same for a cell of busy memory."""
_LARGEST_ORDER = 30

Integers = npt.NDArray[np.int64]


class PackedMap(NamedTuple):
    """The packed data of a map."""

    text: str
    order: int | None
    """That of the cells; None if it has every run."""


def packed_map(snapshot: Snapshot, owners: OwnerList, most: int = MOST_BYTES) -> PackedMap:
    """Return the packed data of the map, of at most `most` bytes.

    It has every run if these fit, and otherwise the pages by use in each cell, with the largest
    owner; cells are as small as fits.
    """
    runs = _Runs(snapshot, owners)
    if len(runs.starts) * _LEAST_PER_RUN <= most:
        packed = pack(runs.exact())
        if len(packed) <= most:
            return PackedMap(packed, None)
    order = 1
    while (runs.spanned >> order) * _LEAST_PER_CELL > most:
        order += 1
    while len(packed := pack(runs.cells(order))) > most and order < _LARGEST_ORDER:
        order += 1
    return PackedMap(packed, order)


class _Runs:
    """Runs of pages with one use, owner and order."""

    def __init__(self, snapshot: Snapshot, owners: OwnerList) -> None:
        table = snapshot.tables["runs"]
        self._table, self._owners = table, owners
        starts, lengths = (np.asarray(table[name], np.int64) for name in ("pfn", "pages"))
        uses = table["use"].codes.astype(np.int64)
        orders = np.asarray(table["order"], np.int64)
        rows = owners.of_ids(np.asarray(table["owner"], np.int64))
        first = _changes(starts, lengths, uses, orders, rows)
        self.starts, self.lengths = starts[first], _sums(lengths, first)
        self.uses, self.orders, self.rows = uses[first], orders[first], rows[first]
        self.spanned = int(lengths.sum())

    def exact(self) -> dict[str, Any]:
        """Return every run: its place among the distinct looks, and its pages."""
        numbers, more = self._owners.places(self.rows)
        looks, at = np.unique(
            np.stack([self.uses, numbers, self.orders], axis=1), axis=0, return_inverse=True
        )
        by_size = np.argsort(-np.bincount(at.ravel(), minlength=len(looks)), kind="stable")
        places = np.empty_like(by_size)
        places[by_size] = np.arange(len(by_size))
        holes = _changes(self.starts, self.lengths)
        return {
            "exact": True,
            "looks": looks[by_size].T.tolist(),
            "runs": places[at.ravel()].tolist(),
            "pages": self.lengths.tolist(),
            "parts": np.stack([holes, self.starts[holes]]).tolist(),
            "zones": _spans(self._table, "zone", "node"),
            "migratetypes": _spans(self._table, "migratetype"),
            **self._shared(more),
        }

    def cells(self, order: int) -> dict[str, Any]:
        """Return pages by use of each cell of 1 << order pages, and its largest owner."""
        parts = cut(self.starts, self.lengths, order)
        cells = parts.starts >> order
        by_use = _by_cell(cells, self.uses[parts.rows], parts.lengths)
        of_cell, rows, pages = _by_cell(cells, self.rows[parts.rows] + 1, parts.lengths)
        rank = np.lexsort((-pages, of_cell))
        largest = rank[np.r_[True, of_cell[rank][1:] != of_cell[rank][:-1]]] if len(rank) else rank
        numbers, more = self._owners.places(rows[largest] - 1)
        places, n = np.unique(by_use[0], return_counts=True)
        return {
            "exact": False,
            "order": order,
            "gaps": np.diff(places, prepend=0).tolist(),
            "n": n.tolist(),
            "uses": by_use[1].tolist(),
            "pages": by_use[2].tolist(),
            "owner": numbers.tolist(),
            "owned": pages[largest].tolist(),
            **self._shared(more),
        }

    def _shared(self, more: dict[str, Any]) -> dict[str, Any]:
        return {
            "names": list(map(shown_name, self._table["use"].values)),
            "owners": more,
        }


def _changes(starts: Integers, lengths: Integers, *columns: Integers) -> Integers:
    """Return where a run does not continue the one before."""
    if not len(starts):
        return np.empty(0, np.int64)
    new = np.r_[True, starts[1:] != (starts + lengths)[:-1]]
    for column in columns:
        new[1:] |= column[1:] != column[:-1]
    return np.flatnonzero(new)


def _sums(lengths: Integers, first: Integers) -> Integers:
    return np.add.reduceat(lengths, first) if len(first) else lengths


def _by_cell(cells: Integers, codes: Integers, pages: Integers) -> tuple[Integers, ...]:
    """Return cell, code and pages of each code in each cell, sorted by cell and code."""
    base = int(codes.max(initial=0)) + 1
    keys, at = np.unique(cells * base + codes, return_inverse=True)
    sums = np.bincount(at, pages, len(keys)).astype(np.int64)
    return keys // base, keys % base, sums


def _spans(table: SnapshotTable, *names: str) -> list[list[Any]]:
    """Return [pfn, pages, text] of runs with the same texts."""
    starts, lengths = (np.asarray(table[name], np.int64) for name in ("pfn", "pages"))
    columns = [
        column.codes if hasattr(column := table[name], "codes") else np.ma.filled(column, -1)
        for name in names
    ]
    first = _changes(starts, lengths, *(np.asarray(c, np.int64) for c in columns))
    texts = [
        [None if value is None else value for value in table[name][first].tolist()]
        if not hasattr(table[name], "codes")
        else table[name].where(first).tolist()
        for name in names
    ]
    pages = _sums(lengths, first).tolist()
    rows = zip(starts[first].tolist(), pages, *texts, strict=True)
    return [
        [pfn, n, *(shown_name(v) if isinstance(v, str) else v for v in values)]
        for pfn, n, *values in rows
    ]
