# SPDX-License-Identifier: GPL-2.0-only
"""Lists the snapshots of a dataset, and reads one."""

from collections.abc import Collection
from pathlib import Path

from ..errors import PageInspectError
from ..model.snapshot import HEADER, TABLES, Snapshot, SnapshotTable
from ..units import counted, printable
from . import parquet
from .files import Entry, again, entries, find
from .paths import clean, is_time
from .schema import arrow, from_arrow


def snapshots(dataset: Path) -> list[Entry]:
    """Return the snapshots of a dataset, sorted by host and time.

    Raises PageInspectError if it is not a dataset, or cannot be read.
    """
    return entries(dataset)


def read_snapshot(
    dataset: Path, host: str, time: str, tables: Collection[str] | None = None
) -> Snapshot:
    """Return a snapshot, with all of its tables or with `snapshots` and some others.

    A column that is newer than the file is null in each row. Raises PageInspectError if the dataset
    has no such snapshot, if a table or a column is missing, and for damaged files and those of a
    newer version.
    """
    arrow()
    host = clean(host)

    def read() -> Snapshot:
        entry = find(dataset, host, time) if is_time(time) else None
        if entry is None:
            raise _not_found(dataset, host, time)
        header = _table(dataset, entry, HEADER)
        if len(header) != 1:
            raise PageInspectError(
                f"{printable(str(entry.path(dataset, HEADER)))} has {counted(len(header), 'row')} "
                f"of {printable(host)} at {time}, and not one",
                "the file was changed: copy it again from where the dataset comes from",
            )
        has = set(header["tables"][0]) & TABLES.keys()
        wanted = has if tables is None else has & set(tables)
        found = {name: _table(dataset, entry, name) for name in TABLES if name in wanted}
        return Snapshot(host, time, {HEADER: header, **found})

    return again(read)


def look_up(dataset: Path, host: str, time: str) -> Entry | None:
    """Return the snapshot of a host and time if it counts; raises PageInspectError."""
    try:
        return find(dataset, host, time)
    except OSError as error:
        raise PageInspectError(
            f"cannot read {printable(str(dataset))}: {error.strerror}",
            "check the path and the permissions of the dataset",
        ) from None


def _table(dataset: Path, entry: Entry, name: str) -> SnapshotTable:
    path = entry.path(dataset, name)
    columns = [field.name for field in TABLES[name]]
    try:
        rows = parquet.read(path, name, columns, entry.host, entry.time)
    except FileNotFoundError:
        # If the snapshot still has its row, the file is really missing.
        if not entry.path(dataset, HEADER).exists():
            raise
        raise PageInspectError(
            f"{printable(str(path))} is missing",
            "copy it again from where the dataset comes from",
        ) from None
    return from_arrow(name, rows)


def _not_found(dataset: Path, host: str, time: str) -> PageInspectError:
    times = [entry.time for entry in entries(dataset) if entry.host == host]
    has = counted(len(times), "snapshot")
    return PageInspectError(
        f"{printable(str(dataset))} has no snapshot of {printable(host)} at {printable(time)}",
        f"it has {has} of this host" + (f", from {times[0]} to {times[-1]}" if times else ""),
    )
