# SPDX-License-Identifier: GPL-2.0-only
"""Writes a snapshot to a dataset: each file appears whole, and that of `snapshots` last."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import PageInspectError
from ..host import files
from ..model.snapshot import HEADER, Snapshot
from ..units import printable
from .files import find, table_names
from .lock import check_folder, writing
from .paths import PART, clean, host_folder, part_of, time_folder
from .schema import arrow, to_arrow, writer

_TRIES = 10
"""Of writing a file whose folder disappears."""


def write_snapshot(
    dataset: Path, snapshot: Snapshot, make_room: Callable[[], object] = lambda: None
) -> None:
    """Add a snapshot to a dataset, which is created if it is missing.

    `make_room` is called when all data is ready and no other process writes snapshots of this host.
    Raises PageInspectError if the dataset has a snapshot of this host and time already, if the
    folder has other things than a dataset, or if it cannot be written. Nothing counts then.
    """
    host, time = clean(snapshot.host), snapshot.time
    host_folder(host), time_folder(time)
    tables = encode(snapshot)
    header = tables.pop(HEADER)
    try:
        with writing(dataset, host):
            make_room()
            if find(dataset, host, time) is not None:
                raise _is_there(dataset, host, time)
            # Of a writer that was killed: perhaps of tables that this snapshot does not have.
            remove(dataset, host, time)
            try:
                (dataset / HEADER).mkdir(exist_ok=True)
                for name, data in tables.items():
                    _write(dataset, part_of(dataset, name, host, time), data)
                _write(dataset, part_of(dataset, HEADER, host, time), header, only_new=True)
            except FileExistsError:
                # Written by a process that the lock did not keep out.
                raise _is_there(dataset, host, time) from None
            except OSError:
                with contextlib.suppress(OSError):
                    remove(dataset, host, time)
                raise
    except OSError as error:
        raise cannot_write(dataset, error) from None


def encode(snapshot: Snapshot) -> dict[str, Any]:
    """Return the Parquet file of each table of a snapshot, in a buffer."""
    host, time = clean(snapshot.host), snapshot.time
    return {name: _parquet(name, to_arrow(t, host, time)) for name, t in snapshot.tables.items()}


def check_place(dataset: Path) -> None:
    """Raise PageInspectError if no snapshot could be written to a dataset. Nothing is created."""
    try:
        check_folder(dataset)
    except OSError as error:
        raise cannot_write(dataset, error) from None


def _is_there(dataset: Path, host: str, time: str) -> PageInspectError:
    return PageInspectError(
        f"{printable(str(dataset))} has a snapshot of {printable(host)} at {time} already",
        "two machines need different names: --host NAME. Of one machine, only one process takes "
        "snapshots, at most one a second; its clock may have gone back",
    )


def cannot_write(dataset: Path, error: OSError) -> PageInspectError:
    """Return the error for a dataset that cannot be changed."""
    path = Path(os.fsdecode(error.filename)) if error.filename else dataset
    path = path if path.is_absolute() or dataset in path.parents else dataset
    return PageInspectError(
        f"cannot write {printable(str(path))}: {error.strerror or error}",
        "nothing in the dataset was lost: check its disk and permissions, and try again",
    )


def _parquet(name: str, table: Any) -> Any:
    """Return the rows of a table as the bytes of a Parquet file, in a buffer."""
    sink = arrow().BufferOutputStream()
    with writer(sink, name, table.schema) as file:
        file.write_table(table)
    return sink.getvalue()


def _write(dataset: Path, path: Path, data: Any, *, only_new: bool = False) -> None:
    for tries_left in reversed(range(_TRIES)):
        try:
            with (
                files.place_of(path, make=True) as place,
                files.replacing(place.folder, PART, durable=True, only_new=only_new) as stream,
            ):
                stream.write(data)
            sync_folders(path.parent, dataset)
        except OSError as error:
            # Another process removes the folder of a host when it is empty.
            if not isinstance(error, FileNotFoundError) or not tries_left:
                raise OSError(error.errno, error.strerror, str(path)) from None
        else:
            return


def sync_folders(folder: Path, dataset: Path) -> None:
    """Sync a folder and those above it up to the dataset, so that new names outlive a crash."""
    while True:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if folder == dataset:
            return
        folder = folder.parent


def remove(dataset: Path, host: str, time: str) -> None:
    """Remove the files of one snapshot in folders of its own, that of `snapshots` first.

    Raises OSError.
    """
    for table in sorted(table_names(dataset), key=lambda name: name != HEADER):
        part = part_of(dataset, table, host, time)
        unlink(part)
        # Another writer may need the folder of the host; then it is not empty, or made again.
        with contextlib.suppress(OSError):
            part.parent.rmdir()
            part.parent.parent.rmdir()


def unlink(path: Path) -> None:
    """Remove a file if it is there. Raises OSError, and UntrustedError for links of other users."""
    with contextlib.suppress(FileNotFoundError), files.place_of(path) as place:
        os.unlink(place.name, dir_fd=place.folder)
