# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots made by hand, and their comparison."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pageinspect.dataset.files import committed
from pageinspect.dataset.read import read_snapshot, snapshots
from pageinspect.dataset.write import write_snapshot
from pageinspect.model.snapshot import HEADER, TABLES, Field, Snapshot, SnapshotTable

T = "20261127T201500Z"
LATER = "20261127T201501Z"
NEXT_DAY = "20261128T000000Z"

SOME = ["owners", "frees"]
KEYS = [("a/b", LATER), ("h", T), ("h", LATER), ("h", NEXT_DAY), ("é", T)]


def value_of(field: Field, row: int) -> Any:
    """Return a value of a column that differs from row to row; where it may be, half are null."""
    if field.name == "error" or (field.absent and row % 2):
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


def changed(path: Path, change: Callable[[pa.Table], pa.Table], **metadata: str) -> None:
    """Write a file again with other columns or metadata."""
    keys = {k.decode(): v.decode() for k, v in pq.read_metadata(path).metadata.items()}
    keys |= {f"pageinspect.{key}": value for key, value in metadata.items()}
    table = change(pq.read_table(path, partitioning=None))
    with pq.ParquetWriter(path, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(keys)


def filled(folder: Path, tables: list[str]) -> Path:
    """Write the snapshots of KEYS."""
    for host, time in reversed(KEYS):
        write_snapshot(folder, snapshot(host, time, tables))
    return folder


def rows(dataset: Path, table: str) -> Counter[tuple[str, str]]:
    """Return the number of rows by host and time in the files of a table that count."""
    found: Counter[tuple[str, str]] = Counter()
    for path in committed(dataset, table):
        read = pq.read_table(path, columns=["host", "time"], partitioning=None)
        times = [f"{time:%Y%m%dT%H%M%SZ}" for time in read["time"].to_pylist()]
        found.update(zip(read["host"].to_pylist(), times, strict=True))
    return found


def check_rows(dataset: Path, keys: list[tuple[str, str]], tables: list[str]) -> None:
    """Check that a dataset has these snapshots of filled(), and the rows of each once."""
    assert [entry[:2] for entry in snapshots(dataset)] == keys
    assert rows(dataset, HEADER) == dict.fromkeys(keys, 1)
    for table in tables:
        assert rows(dataset, table) == dict.fromkeys(keys, 3)


def check_all(dataset: Path, keys: list[tuple[str, str]], tables: list[str]) -> None:
    """Check that a dataset has these snapshots of filled(), with the contents of each."""
    check_rows(dataset, keys, tables)
    for host, time in keys:
        assert same(dataset, snapshot(host, time, tables))
