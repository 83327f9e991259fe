# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots made by hand, and their comparison."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pageinspect.dataset.read import read_snapshot
from pageinspect.model.snapshot import HEADER, TABLES, Field, Snapshot, SnapshotTable

T = "20261127T201500Z"
LATER = "20261127T201501Z"
NEXT_DAY = "20261128T000000Z"


def value_of(field: Field, row: int) -> Any:
    """Return a value of a column that differs from row to row; where it may be, half are null."""
    if field.absent and row % 2:
        return None
    return {
        "bool": row % 2 == 0,
        "uint8": row,
        "int32": -row,
        "int64": row * 10**12,
        "float64": row / 3,
        "text": f"text {row}",
        "name": f"name {row // 2}",
        "names": ["both", f"of {row}"][: row + 1],
        "pages by name": {"anon": row, "file": 7},
        "time": 1_700_000_000_000_000 + row,
    }[field.kind]


def snapshot(host: str, time: str, tables: Iterable[str] = TABLES, rows: int = 3) -> Snapshot:
    """Return a snapshot with these tables."""
    made = {}
    for name in {HEADER, *tables}:
        texts = [[value_of(f, row) for f in TABLES[name]] for row in range(rows)]
        if name == HEADER:
            at = [field.name for field in TABLES[HEADER]].index("tables")
            texts = [[*texts[0][:at], [*tables], *texts[0][at + 1 :]]]
        made[name] = SnapshotTable.of_rows(name, texts)
    return Snapshot(host, time, made)


def plain(table: SnapshotTable) -> dict[str, list[Any]]:
    """Return the columns of a table as lists, with None for null."""
    return {
        name: column.tolist() if hasattr(column, "tolist") else list(column)  # type: ignore[misc]
        for name, column in table.columns.items()
    }


def same(dataset: Path, wanted: Snapshot, tables: Sequence[str] | None = None) -> bool:
    """Whether a dataset has these contents of a snapshot."""
    found = read_snapshot(dataset, wanted.host, wanted.time, tables)
    assert (found.host, found.time) == (wanted.host, wanted.time)
    return {name: plain(table) for name, table in found.tables.items()} == {
        name: plain(wanted.tables[name])
        for name in wanted.tables
        if tables is None or name in (HEADER, *tables)
    }
