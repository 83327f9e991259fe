# SPDX-License-Identifier: GPL-2.0-only
"""The long tables of a page, which it sorts and filters: their columns as data."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from ..model.snapshot import Names, Snapshot, SnapshotTable
from .names import shown_name

Shown = Literal["text", "bytes", "pages", "number"]

FILES = ("file", "shmem")
"""Kinds whose owners are files."""
CACHES = ("slab",)


class ListColumn(NamedTuple):
    """A column of a table: the column of the snapshot, its heading, and how values are shown."""

    name: str
    heading: str
    shown: Shown


_PROCESSES = (
    ListColumn("pid", "PID", "number"),
    ListColumn("comm", "name", "text"),
    *(
        ListColumn(name, heading, "bytes")
        for name, heading in (
            ("rss", "RSS"),
            ("pss", "PSS"),
            ("uss", "USS"),
            ("anon", "anon"),
            ("file", "file"),
            ("shmem", "shmem"),
            ("swap", "swap"),
            ("huge", "huge"),
            ("hugetlb", "hugetlb"),
            ("tables", "page tables"),
        )
    ),
    ListColumn("cgroup", "cgroup", "text"),
    ListColumn("exe", "program", "text"),
)
_CGROUPS = (
    ListColumn("cgroup", "cgroup", "text"),
    ListColumn("kind", "kind", "text"),
    ListColumn("pages", "pages", "pages"),
    ListColumn("bytes", "size", "bytes"),
)
_LISTS = {"processes": (_PROCESSES, "pss"), "cgroups": (_CGROUPS, "bytes")}


def list_tables(snapshot: Snapshot, most: int) -> dict[str, Any]:
    """Return the tables that the snapshot has, each with the `most` rows that have most memory."""
    return {
        name: _listed(snapshot.tables[name], columns, by, most)
        for name, (columns, by) in _LISTS.items()
        if name in snapshot.tables
    }


def _listed(
    table: SnapshotTable, columns: Sequence[ListColumn], by: str, most: int
) -> dict[str, Any]:
    sizes = np.ma.filled(np.ma.asarray(table[by]), -1)
    rows = np.argsort(-sizes, kind="stable")[:most]
    return {
        "columns": [[column.heading, column.shown] for column in columns],
        "values": [_values(table[column.name], rows) for column in columns],
        "sorted": [column.name for column in columns].index(by),
        "left": len(table) - len(rows),
    }


def _values(column: Any, rows: Any) -> list[Any]:
    if isinstance(column, np.ndarray):
        return column[rows].tolist()
    texts = column.where(rows).tolist() if isinstance(column, Names) else [column[i] for i in rows]
    return [shown_name(text) for text in texts]
