# SPDX-License-Identifier: GPL-2.0-only
"""Rows of cores that could not be read: a snapshot that has an error in place of tables."""

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import PageInspectError
from ..model.snapshot import HEADER, SCHEMA, TABLES, Field, Snapshot, SnapshotTable
from ..version import __version__
from .files import Entry
from .paths import clean, microseconds, time_of
from .prune import remove_snapshot
from .read import look_up, read_snapshot
from .write import write_snapshot

_NO_FILE = 0
"""Seconds since 1970 at which the row of a path without a file is."""
_TRIES = 60
"""Seconds after that of the file which other cores of the same name may have taken."""


def record_failure(
    dataset: Path, core: Path, host: str | None, error: str, *, missing: bool = False
) -> None:
    """Add the row of a core that could not be read, in place of an earlier row of the same core.

    The host is `host`, or the name of the file; the time is that of the file, or a second in which
    no other snapshot of this host was taken, up to a minute later. A path that is not of a file
    gets a row of 1970 with `missing`, otherwise none. Raises PageInspectError if the row cannot be
    written.
    """
    began = _file_time(core)
    if began is None:
        if not missing:
            return
        began = _NO_FILE
    host = clean(host or core.name)
    begins = _beginnings(core)
    text = error if error.startswith(begins) else begins[0] + error
    for time in _times(began):
        entry = look_up(dataset, host, time)
        if entry is not None:
            if not _is_failure(dataset, entry, core):
                continue
            remove_snapshot(dataset, entry)
        try:
            write_snapshot(dataset, _failed(host, time, text))
        except PageInspectError:
            # Another core of this name may have taken the second just now.
            if look_up(dataset, host, time) is None:
                raise
        else:
            return
    raise PageInspectError(
        f"cores of the name {core.name} have taken each second of a minute", "give it: --host NAME"
    )


def has_failure(dataset: Path, core: Path, host: str | None) -> bool:
    """Return whether record_failure() has added a row for a core. Raises PageInspectError."""
    return next(_failures(dataset, core, host), None) is not None


def remove_failure(dataset: Path, core: Path, host: str | None) -> None:
    """Remove the rows that record_failure() added for a core. Raises PageInspectError."""
    for entry in _failures(dataset, core, host):
        remove_snapshot(dataset, entry)


def _failures(dataset: Path, core: Path, host: str | None) -> Iterator[Entry]:
    """Yield the row for the file of a core, and that for its path without a file."""
    host = clean(host or core.name)
    for began in (_file_time(core), _NO_FILE):
        for time in () if began is None else _times(began):
            entry = look_up(dataset, host, time)
            if entry is None:
                break
            if _is_failure(dataset, entry, core):
                yield entry
                break


def _file_time(core: Path) -> int | None:
    """Return when a file was changed, in seconds since 1970; None if it is not a regular file."""
    with contextlib.suppress(OSError):
        status = core.stat()
        if stat.S_ISREG(status.st_mode):
            return status.st_mtime_ns // 1_000_000_000
    return None


def _times(began: int) -> Iterator[str]:
    with contextlib.suppress(ValueError):
        for seconds in range(began, began + _TRIES):
            yield time_of(seconds)


def _beginnings(core: Path) -> tuple[str, str]:
    """Return what the errors of a core begin with: many cores have the same name."""
    path = clean(str(core.absolute()))
    return f"{path}: ", f"{path} is "


def _is_failure(dataset: Path, entry: Entry, core: Path) -> bool:
    """Return whether a snapshot is the row of this core that could not be read."""
    error = read_snapshot(dataset, entry.host, entry.time, ()).header("error")
    return error is not None and str(error).startswith(_beginnings(core))


def _failed(host: str, time: str, error: str) -> Snapshot:
    row = {field.name: _nothing(field) for field in TABLES[HEADER]}
    row |= {
        "taken": microseconds(time),
        "source": "core",
        "error": error,
        "version": __version__,
        "schema": SCHEMA,
    }
    return Snapshot(host, time, {HEADER: SnapshotTable.of_rows(HEADER, [tuple(row.values())])})


def _nothing(field: Field) -> Any:
    if field.absent:
        return None
    texts: dict[str, Any] = {"text": "", "name": "", "names": [], "pages by name": {}}
    return texts.get(field.kind, 0)
