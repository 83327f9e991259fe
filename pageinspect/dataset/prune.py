# SPDX-License-Identifier: GPL-2.0-only
"""Removes snapshots."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ..errors import PageInspectError
from ..model.snapshot import HEADER, TABLES, Snapshot
from .compact import is_changing, rewrite, tidy
from .files import Entry, check_dataset, entries_of, find
from .lock import changing
from .paths import clean
from .read import read_snapshot
from .write import cannot_write, remove, write_snapshot

_FREES = {"frees"}
"""The tables of a snapshot that trace wrote."""


def keep(dataset: Path, host: str, n: int, *, of_frees: bool = False) -> int:
    """Remove all but the `n` newest snapshots of a host, and return the number of those removed.

    They are those that have memory, or, if `of_frees`, those that have typed frees alone; the
    others stay. Rows of kernels that could not be read are not counted, and removed with the
    snapshots of memory before them. `n` is at least 1. Nothing is removed while another process
    merges snapshots or, of merged days, removes some: the next call removes them. Raises
    PageInspectError.
    """
    if n < 1:
        raise ValueError(f"at least 1 snapshot stays, not {n}")
    check_dataset(dataset)
    host = clean(host)
    try:
        with changing(dataset, shared=True) as allowed:
            old = _older(dataset, entries_of(dataset, host), n, of_frees) if allowed else []
            # A copy in the files of its day counts, and is removed below.
            own = [entry for entry in old if not entry.generation]
            for entry in own:
                remove(dataset, host, entry.time)
        merged = len(old) - len(own)
        return len(own) + (_keep_in_days(dataset, host, n, of_frees) if merged else 0)
    except OSError as error:
        raise cannot_write(dataset, error) from None


def _keep_in_days(dataset: Path, host: str, n: int, of_frees: bool) -> int:  # noqa: FBT001
    with changing(dataset) as allowed:
        if not allowed:
            return 0
        tidy(dataset)
        without: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for entry in _older(dataset, entries_of(dataset, host), n, of_frees):
            if entry.generation:
                without[entry.time[:8]].add((host, entry.time))
        for day, keys in without.items():
            rewrite(dataset, day, [], frozenset(keys))
        return sum(map(len, without.values()))


def _older(
    dataset: Path,
    found: Sequence[Entry],
    n: int,
    of_frees: bool,  # noqa: FBT001
) -> Sequence[Entry]:
    """Return those of one kind before the `n` newest ones that have tables; `found` are by time."""
    for place in reversed(range(len(found))):
        tables = _tables(dataset, found[place])
        n -= bool(tables) and (tables == _FREES) == of_frees
        if not n:
            return [e for e in found[:place] if (_tables(dataset, e) == _FREES) == of_frees]
    return ()


def _tables(dataset: Path, entry: Entry) -> set[str]:
    """Return the tables that a snapshot has; none of a kernel that could not be read."""
    if not entry.generation:
        return {n for n in TABLES if n != HEADER and entry.path(dataset, n).exists()}
    return {*read_snapshot(dataset, entry.host, entry.time, ()).header("tables")} - {HEADER}


def remove_snapshot(dataset: Path, entry: Entry) -> None:
    """Remove one snapshot. Raises PageInspectError, also if another process merges snapshots."""
    key = entry.host, entry.time
    try:
        with changing(dataset, shared=not entry.generation) as allowed:
            if not allowed:
                raise is_changing(dataset)
            if entry.generation:
                tidy(dataset)
                rewrite(dataset, entry.time[:8], [], frozenset({key}))
            else:
                remove(dataset, *key)
    except OSError as error:
        raise cannot_write(dataset, error) from None


def replace_snapshot(dataset: Path, snapshot: Snapshot) -> None:
    """Write a snapshot in place of that of the same host and time, if there is one.

    The earlier one is removed when all data of the new one is ready. If this process is killed in
    between, or the disk is full, neither is there. Raises PageInspectError, also if another process
    merges snapshots.
    """
    removed = False

    def make_room() -> None:
        nonlocal removed
        entry = find(dataset, clean(snapshot.host), snapshot.time)
        if entry is not None:
            remove_snapshot(dataset, entry)
            removed = True

    try:
        write_snapshot(dataset, snapshot, make_room)
    except PageInspectError as error:
        if removed:
            raise PageInspectError(
                error.message, "the earlier snapshot was removed: take this one again"
            ) from None
        raise
