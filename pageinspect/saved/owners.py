# SPDX-License-Identifier: GPL-2.0-only
"""The owners of a snapshot. Their keys are rows of the table."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..model.owner_names import OwnerName
from ..model.snapshot import SnapshotTable
from ..owners.assign import Assigned
from ..owners.counts import OwnerPages, OwnerRanges, ranges_of
from ..owners.table import NUMBER, Kinds
from .kernel import damaged, unknown_name
from .runs import SavedRuns


class SavedOwners:
    """The owners of one snapshot by row, in order of their ids; names them: OwnerNaming."""

    def __init__(self, table: SnapshotTable) -> None:
        """Raise PageInspectError for a damaged table and for kinds that are not known."""
        ids = np.asarray(table["id"], np.int64)
        self._table = table
        self._order = np.argsort(ids, kind="stable")
        self.ids = ids[self._order]
        """Sorted and distinct, (n,)."""
        if (self.ids[1:] == self.ids[:-1]).any():
            raise damaged("two owners have the same id")
        names = table["kind"]
        for name in names.values:
            if name not in NUMBER:
                raise unknown_name("kind of owner", name)
        if (names.codes < 0).any():
            raise damaged("an owner has no kind")
        numbers = np.array([NUMBER[name] for name in names.values], np.int16)
        self.kinds: Kinds = numbers[names.codes[self._order]]
        """The number of the kind, (n,)."""

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def _names(self) -> list[OwnerName]:
        columns = (self._table[name].where(self._order) for name in _NAMES)
        texts = zip(*(column.tolist() for column in columns), strict=True)
        return [OwnerName(name or "", caller or "", where or "") for name, caller, where in texts]

    @cached_property
    def reserved_huge_pages(self) -> Mapping[int, int]:
        """Pages of free huge pages that are reserved for mappings, by row."""
        reserved = np.ma.filled(np.ma.asarray(self._table["reserved"]), 0)[self._order]
        rows = np.flatnonzero(reserved)
        return dict(zip(rows.tolist(), reserved[rows].tolist(), strict=True))

    def names(self, kind: str, keys: Sequence[int]) -> list[OwnerName]:  # noqa: ARG002
        """Return the names of the owners in these rows."""
        return [self._names[key] for key in keys]

    def pages(self, runs: SavedRuns) -> OwnerPages:
        """Return the pages of each owner in some runs."""
        sums = np.bincount(runs.owners, runs.lengths, len(self)).astype(np.int64)
        rows = np.flatnonzero(sums)
        keys = rows.astype(np.uint64)
        return OwnerPages(self.kinds[rows], keys, np.zeros_like(keys), sums[rows])

    def kinds_of(self, runs: SavedRuns) -> Kinds:
        """Return the kind of owner of each run."""
        return self.kinds[runs.owners]

    def keys_of(self, runs: SavedRuns) -> npt.NDArray[np.uint64]:
        """Return the key of the owner of each run."""
        return runs.owners.astype(np.uint64)

    def ranges(self, runs: SavedRuns) -> OwnerRanges:
        """Return the ranges of pfns of each owner."""
        rows = np.arange(len(runs))
        kinds, keys = self.kinds_of(runs), self.keys_of(runs)
        return ranges_of([Assigned(runs.pfns, runs.lengths, rows, kinds, keys)])


_NAMES = ("name", "caller", "filesystem")
