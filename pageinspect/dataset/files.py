# SPDX-License-Identifier: GPL-2.0-only
"""Which files of a dataset count. Foreign files, and those of unfinished snapshots, do not."""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from ..errors import PageInspectError
from ..model.snapshot import HEADER
from ..units import printable
from .parquet import opened, times_of
from .paths import (
    PART,
    day_file,
    day_folder,
    day_in,
    generation_in,
    host_in,
    is_table,
    part_of,
    time_in,
)
from .schema import arrow

Result = TypeVar("Result")

_TRIES = 5
"""Of reading what a merge replaces at the same time."""


@dataclass(frozen=True, slots=True, order=True)
class Entry:
    """A snapshot in a dataset."""

    host: str
    """Untrusted text."""
    time: str
    """UTC, as 20261127T201500Z."""
    generation: int = 0
    """Of the files of its day; 0 if it has files of its own."""

    def path(self, dataset: Path, table: str) -> Path:
        """Return the file with a table; it need not exist."""
        if self.generation:
            return day_file(dataset, table, self.time[:8], self.generation)
        return part_of(dataset, table, self.host, self.time)


def is_dataset(path: Path) -> bool:
    """Return whether a path is the folder of a dataset."""
    return (path / HEADER).is_dir()


def check_dataset(path: Path) -> None:
    """Raise PageInspectError if a path is not the folder of a dataset."""
    if not is_dataset(path):
        raise PageInspectError(
            f"{printable(str(path))} is not a dataset: it has no folder {HEADER}",
            "pageinspect snapshot -o DATASET makes one",
        )


def table_names(dataset: Path) -> list[str]:
    """Return the tables of a dataset, also those that only a newer version knows."""
    return sorted(name for name in _folders(dataset) if is_table(name))


def single(
    dataset: Path, table: str = HEADER, *, since: str = "", host: str | None = None
) -> Iterator[Entry]:
    """Yield the snapshots with a file of their own in a table, in any order."""
    top = f"{dataset}/{table}"
    for name in _folders(top):
        its = host_in(name)
        if its is None or not (host is None or fnmatchcase(its, host)):
            continue
        for folder in _folders(f"{top}/{name}"):
            time = time_in(folder)
            if time is None or time < since:
                continue
            # A Path for each takes several times as long.
            if os.path.exists(f"{top}/{name}/{folder}/{PART}"):  # noqa: PTH110
                yield Entry(its, time)


def days(dataset: Path) -> dict[str, int]:
    """Return the generation that counts of each day that was merged."""
    found = {day: generations(dataset, HEADER, day) for day in days_of(dataset, HEADER)}
    return {day: max(numbers) for day, numbers in found.items() if numbers}


def days_of(dataset: Path, table: str) -> list[str]:
    """Return the days that a table has a folder for."""
    found = map(day_in, _folders(dataset / table))
    return [day for day in found if day is not None]


def generations(dataset: Path, table: str, day: str) -> list[int]:
    """Return the generations of a day of which a table has a file."""
    try:
        paths = [*(dataset / table / day_folder(day)).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(n for path in paths if (n := generation_in(path.name)))


def merged(dataset: Path, day: str, generation: int) -> set[tuple[str, str]]:
    """Return the host and time of each snapshot in the files of a day.

    Raises FileNotFoundError if a later generation has replaced them, and PageInspectError.
    """
    with opened(day_file(dataset, HEADER, day, generation), HEADER) as file:
        rows = file.read(["host", "time"])
        hosts = rows["host"].cast(arrow().string()).to_pylist()
        return set(zip(hosts, times_of(rows["time"]), strict=True))


def committed(
    dataset: Path, table: str, *, since: str | None = None, host: str | None = None
) -> list[Path]:
    """Return the files with the rows of a table: those of each snapshot that counts, once.

    `since` (a time such as 20261127T201500Z, or its beginning) and `host` (a shell pattern) leave
    out files that have only other snapshots. Files of whole days may have rows of others too.
    Raises PageInspectError.
    """
    alone, of_days = _current(dataset, since or "", host)
    have = alone
    if table != HEADER:
        have = alone & set(single(dataset, table, since=since or "", host=host))
    paths = [entry.path(dataset, table) for entry in sorted(have)]
    for day, generation in sorted(of_days.items()):
        path = day_file(dataset, table, day, generation)
        if day >= (since or "")[:8] and path.exists():
            paths.append(path)
    return paths


def entries(dataset: Path) -> list[Entry]:
    """Return the snapshots that count, by host and time. Raises PageInspectError."""

    def read() -> list[Entry]:
        alone, of_days = _current(dataset, "", None)
        for day, generation in of_days.items():
            alone |= {Entry(*key, generation) for key in merged(dataset, day, generation)}
        return sorted(alone)

    return again(read)


def entries_of(dataset: Path, host: str) -> list[Entry]:
    """Return the snapshots of one host that count, by time. Raises PageInspectError."""

    def read() -> list[Entry]:
        exactly = "".join(f"[{c}]" if c in "*?[" else c for c in host)
        alone, of_days = _current(dataset, "", exactly)
        for day, generation in of_days.items():
            keys = merged(dataset, day, generation)
            alone |= {Entry(host, time, generation) for its, time in keys if its == host}
        return sorted(alone)

    return again(read)


def find(dataset: Path, host: str, time: str) -> Entry | None:
    """Return the snapshot of a host and time if it counts. Raises PageInspectError."""

    def read() -> Entry | None:
        alone = Entry(host, time)
        if alone.path(dataset, HEADER).exists():
            return alone
        day = time[:8]
        generation = max(generations(dataset, HEADER, day), default=0)
        if generation and (host, time) in merged(dataset, day, generation):
            return Entry(host, time, generation)
        return None

    return again(read)


def again(read: Callable[[], Result]) -> Result:
    """Call a function that lists files and reads them, again if they were replaced in between."""
    for _ in range(_TRIES):
        with contextlib.suppress(FileNotFoundError):
            return read()
    try:
        return read()
    except FileNotFoundError as error:
        raise PageInspectError(
            f"{printable(str(error.filename or error))} disappeared while it was read",
            "try again when nothing merges or removes snapshots of this dataset",
        ) from None


def _current(dataset: Path, since: str, host: str | None) -> tuple[set[Entry], dict[str, int]]:
    """Return the snapshots that count and have files of their own, and generations of days."""

    def read() -> tuple[set[Entry], dict[str, int]]:
        # In this order: a merge writes the files of a day before it removes others.
        alone = set(single(dataset, since=since, host=host))
        of_days = days(dataset)
        for day in {entry.time[:8] for entry in alone} & of_days.keys():
            inside = merged(dataset, day, of_days[day])
            alone = {entry for entry in alone if (entry.host, entry.time) not in inside}
        return alone, of_days

    check_dataset(dataset)
    return again(read)


def _folders(path: str | Path) -> list[str]:
    """Return the names of the folders in a folder; none if it is missing."""
    try:
        with os.scandir(path) as found:
            return [entry.name for entry in found if entry.is_dir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise PageInspectError(
            f"cannot read {printable(str(path))}: {error.strerror}",
            "check the permissions of the dataset",
        ) from None
