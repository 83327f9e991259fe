# SPDX-License-Identifier: GPL-2.0-only
"""The owners of a page: those that its tables list, and those that its map names besides."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..model.snapshot import Snapshot, SnapshotTable
from ..units import printable

_MOST_LETTERS = 300
"""Of a name: longer ones are cut."""


def shown_name(text: str | None) -> str:
    """Return untrusted text of bounded length, with control characters escaped."""
    found = printable(text or "")
    return found if len(found) <= _MOST_LETTERS else f"{found[: _MOST_LETTERS - 1]}…"


@dataclass(frozen=True, slots=True)
class OwnerList:
    """The owners of a snapshot, those with most pages first."""

    table: SnapshotTable
    order: npt.NDArray[np.int64]
    """Rows of the table."""
    listed: npt.NDArray[np.bool_]
    """Whether each of `order` is one that tables list."""
    kinds: tuple[str, ...]
    places: dict[int, int] = field(default_factory=dict)
    """The number in the page of each row of the table that has one."""

    @classmethod
    def of(cls, snapshot: Snapshot, most: int) -> "OwnerList":
        """Return the owners; tables list at most `most` of each kind."""
        table = snapshot.tables["owners"]
        pages = np.asarray(table["pages"], np.int64)
        order = np.argsort(-pages, kind="stable")
        kinds = table["kind"].codes[order]
        ranks = np.zeros(len(order), np.int64)
        for kind in np.unique(kinds).tolist():
            members = np.flatnonzero(kinds == kind)
            ranks[members] = np.arange(len(members))
        found = cls(table, order, ranks < most, tuple(map(printable, table["kind"].values)))
        for row in order[found.listed].tolist():
            found.places[row] = len(found.places)
        return found

    def rows_of(self, ids: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return the row in the table of each owner by its id; -1 if it has none."""
        known = np.asarray(self.table["id"], np.int64)
        order = np.argsort(known, kind="stable")
        if not len(order):
            return np.full(len(ids), -1)
        at = np.minimum(np.searchsorted(known[order], ids), len(order) - 1)
        return np.where(known[order][at] == ids, order[at], -1)

    def columns(self) -> dict[str, Any]:
        """Return the listed owners as columns, and the number and pages of others by kind."""
        rows = self.order[self.listed]
        others = self.order[~self.listed]
        pages = np.asarray(self.table["pages"], np.int64)
        kinds = self.table["kind"].codes[others]
        n, left = (
            np.bincount(kinds, weights, len(self.kinds)).astype(np.int64).tolist()
            for weights in (None, pages[others])
        )
        return {
            **self._named(rows),
            "caller": _texts(self.table, "caller", rows),
            "filesystem": _texts(self.table, "filesystem", rows),
            "pages": pages[rows].tolist(),
            "others": [[kind, n[kind], left[kind]] for kind in range(len(n)) if n[kind]],
        }

    def numbers(self, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], dict[str, Any]]:
        """Return the number in the page of each row of the table, and the owners to add for them.

        Numbers of listed owners are those of columns(); the others follow them. -1 stays.
        """
        more = [row for row in np.unique(rows).tolist() if row >= 0 and row not in self.places]
        places = np.full(len(self.table) + 1, -1, np.int64)
        places[list(self.places)] = list(self.places.values())
        places[more] = np.arange(len(more)) + len(self.places)
        return places[rows], self._named(np.array(more, np.int64))

    def _named(self, rows: npt.NDArray[np.int64]) -> dict[str, Any]:
        return {
            "kind": self.table["kind"].codes[rows].tolist(),
            "name": _texts(self.table, "name", rows),
        }


def _texts(table: SnapshotTable, name: str, rows: npt.NDArray[np.int64]) -> Sequence[str]:
    return [shown_name(text) for text in table[name].where(rows).tolist()]
