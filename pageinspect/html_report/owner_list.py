# SPDX-License-Identifier: GPL-2.0-only
"""The owners of a page: those that its tables list, and those that its map names besides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..model.snapshot import Snapshot, SnapshotTable
from .names import is_cut, shown_name


@dataclass(frozen=True, slots=True)
class OwnerList:
    """The owners of a snapshot: those with the same kind, name and file system are one."""

    table: SnapshotTable
    groups: npt.NDArray[np.int64]
    """The number of the owner of each row of the table, those with most pages first."""
    first: npt.NDArray[np.int64]
    """The first row of each owner."""
    pages: npt.NDArray[np.int64]
    """Of each owner."""
    listed: npt.NDArray[np.bool_]
    """Whether tables list each owner."""
    kinds: tuple[str, ...]

    @classmethod
    def of(cls, snapshot: Snapshot, most: int) -> "OwnerList":
        """Return the owners; tables list at most `most` of each kind."""
        table = snapshot.tables["owners"]
        groups, first = _grouped(table)
        pages = np.bincount(groups, table["pages"], len(first)).astype(np.int64)
        order = np.argsort(-pages, kind="stable")
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        kinds = table["kind"].codes[first[order]]
        ranks = np.zeros(len(order), np.int64)
        for kind in np.unique(kinds).tolist():
            members = np.flatnonzero(kinds == kind)
            ranks[members] = np.arange(len(members))
        names = tuple(map(shown_name, table["kind"].values))
        return cls(table, places[groups], first[order], pages[order], ranks < most, names)

    def of_ids(self, ids: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return the number of each owner by the `id` of the table; -1 for an unknown one."""
        known = np.asarray(self.table["id"], np.int64)
        order = np.argsort(known, kind="stable")
        if not len(order):
            return np.full(len(ids), -1)
        at = np.minimum(np.searchsorted(known[order], ids), len(order) - 1)
        return np.where(known[order][at] == ids, self.groups[order][at], -1)

    def columns(self) -> dict[str, Any]:
        """Return the listed owners as columns, and the number and pages of others by kind.

        `cut` has the places of those whose names are not whole.
        """
        kinds = self.table["kind"].codes[self.first[~self.listed]]
        n, left = (
            np.bincount(kinds, weights, len(self.kinds)).astype(np.int64).tolist()
            for weights in (None, self.pages[~self.listed])
        )
        rows = self.first[self.listed]
        cut = map(is_cut, self.table["name"].where(rows).tolist())
        return {
            **self._named(rows),
            "cut": [i for i, more in enumerate(cut) if more],
            "caller": _texts(self.table, "caller", rows),
            "filesystem": _texts(self.table, "filesystem", rows),
            "pages": self.pages[self.listed].tolist(),
            "others": [[kind, n[kind], left[kind]] for kind in range(len(n)) if n[kind]],
        }

    def places(self, wanted: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], dict[str, Any]]:
        """Return the place in the page of each owner, and the owners that are to be added for them.

        Places of listed owners are those in columns(); the others follow them. -1 stays.
        """
        n = int(np.count_nonzero(self.listed))
        found = np.full(len(self.first) + 1, -1, np.int64)
        found[:-1][self.listed] = np.arange(n)
        used = np.unique(wanted[wanted >= 0])
        more = used[~self.listed[used]]
        found[more] = n + np.arange(len(more))
        return found[wanted], self._named(self.first[more])

    def _named(self, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
        return {
            "kind": self.table["kind"].codes[rows].tolist(),
            "name": _texts(self.table, "name", rows),
        }


def _grouped(table: SnapshotTable) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the group of each row by kind, name and file system, and the first row of each."""
    numbers: dict[tuple[Any, ...], int] = {}
    texts = (table[name].tolist() for name in ("kind", "name", "filesystem"))
    found = [numbers.setdefault(key, len(numbers)) for key in zip(*texts, strict=True)]
    groups = np.array(found, np.int64)
    return groups, np.unique(groups, return_index=True)[1]


def _texts(table: SnapshotTable, name: str, rows: npt.NDArray[np.int64]) -> Sequence[str]:
    return [shown_name(text) for text in table[name].where(rows).tolist()]
