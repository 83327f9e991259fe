# SPDX-License-Identifier: GPL-2.0-only
"""Merges the snapshots of each day into one file a table: many small files are slow to query.

The new files appear together, that of `snapshots` last, and only then are the old ones removed. So
each snapshot counts once at any time, also if this process is killed.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..errors import PageInspectError
from ..host import files
from ..model.snapshot import HEADER
from ..units import counted, printable
from .files import Entry, check_dataset, days, days_of, generations, merged, single, table_names
from .lock import changing, try_writing
from .merge import Source, merge
from .paths import day_file, day_folder, part_of
from .write import cannot_write, remove, sync_folders, unlink

Key = tuple[str, str]


class Compacted(NamedTuple):
    """What compact() has merged."""

    days: int
    snapshots: int


def compact(dataset: Path) -> Compacted:
    """Merge the snapshots of each day that have files of their own.

    A snapshot that is written later is merged the next time. Files that unfinished snapshots and
    merges left behind are removed. A day with a damaged file stays as it is. Raises
    PageInspectError for such a day after the others were merged, and if another process merges or
    removes snapshots; nothing is lost then.
    """
    damaged: list[PageInspectError] = []
    check_dataset(dataset)
    try:
        with changing(dataset) as alone:
            if not alone:
                raise is_changing(dataset)
            tidy(dataset)
            by_day: dict[str, list[Entry]] = {}
            for entry in single(dataset):
                by_day.setdefault(entry.time[:8], []).append(entry)
            for day, found in sorted(by_day.items()):
                try:
                    rewrite(dataset, day, found)
                except PageInspectError as error:
                    damaged.append(error)
            if damaged:
                raise _not_merged(damaged)
            return Compacted(len(by_day), sum(map(len, by_day.values())))
    except OSError as error:
        raise cannot_write(dataset, error) from None


def _not_merged(damaged: Sequence[PageInspectError]) -> PageInspectError:
    """Return the error for days that could not be merged."""
    first, more = damaged[0], len(damaged) - 1
    others = f"; and {counted(more, 'more day')} could not be merged" if more else ""
    return PageInspectError(
        f"{first.message}{others}", f"{first.hint}; other days were merged, and nothing is lost"
    )


def is_changing(dataset: Path) -> PageInspectError:
    """Return the error for a dataset that another process has the lock of."""
    return PageInspectError(
        f"another process merges or removes snapshots of {printable(str(dataset))}",
        "wait until it has ended",
    )


def tidy(dataset: Path) -> None:
    """Remove files that do not count. The caller has the lock of changing()."""
    current, own = days(dataset), set(single(dataset))
    for day in {entry.time[:8] for entry in own} & current.keys():
        inside = merged(dataset, day, current[day])
        for entry in own:
            if (entry.host, entry.time) in inside:
                remove(dataset, entry.host, entry.time)
    tables = table_names(dataset)
    for table in tables:
        for day in days_of(dataset, table):
            for generation in generations(dataset, table, day):
                if generation != current.get(day):
                    unlink(day_file(dataset, table, day, generation))
    _remove_unfinished(dataset, tables)


def _remove_unfinished(dataset: Path, tables: list[str]) -> None:
    """Remove files of snapshots without a row in `snapshots`, if no process is writing them."""
    parts = {entry for table in tables if table != HEADER for entry in single(dataset, table)}
    for entry in parts - set(single(dataset)):
        with try_writing(dataset, entry.host) as alone:
            if alone and not part_of(dataset, HEADER, entry.host, entry.time).exists():
                remove(dataset, entry.host, entry.time)


def rewrite(
    dataset: Path, day: str, found: list[Entry], without: frozenset[Key] = frozenset()
) -> None:
    """Make the next generation of a day, with the snapshots `found` and not those in `without`.

    The caller has called tidy(), and has the lock.
    """
    before = days(dataset).get(day, 0)
    kept = merged(dataset, day, before) - without if before else set()
    if found or kept:
        _write(dataset, day, before, sorted(found), without)
    if before:
        for table in _header_first(dataset):
            unlink(day_file(dataset, table, day, before))
            with contextlib.suppress(OSError):
                (dataset / table / day_folder(day)).rmdir()
    for entry in found:
        remove(dataset, entry.host, entry.time)


def _header_first(dataset: Path) -> list[str]:
    return sorted(table_names(dataset), key=lambda name: name != HEADER)


def _write(
    dataset: Path, day: str, before: int, found: list[Entry], without: frozenset[Key]
) -> None:
    with contextlib.ExitStack() as stack:
        for table in _header_first(dataset):
            sources = [Source(e.path(dataset, table), (e.host, e.time)) for e in found]
            old = Source(day_file(dataset, table, day, before), None)
            sources = [s for s in [*sources, old] if s.path.exists()]
            if not sources:
                continue
            path = day_file(dataset, table, day, before + 1)
            place = stack.enter_context(files.place_of(path, make=True))
            # These contexts end in reverse order, and each file gets its name then.
            stack.callback(sync_folders, path.parent, dataset)
            stream = stack.enter_context(
                files.replacing(place.folder, path.name, durable=True, only_new=True)
            )
            merge(stream, table, sources, without)
