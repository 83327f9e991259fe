# SPDX-License-Identifier: GPL-2.0-only
"""Opens a snapshot of a dataset."""

import re
from bisect import bisect
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

from ..errors import PageInspectError, did_you_mean
from ..model.snapshot import HEADER, Snapshot, SnapshotTable
from ..units import counted, printable
from .reports import SavedReports

_MOST_NAMED = 8
_NUMBERED = re.compile(r"-([1-9]\d{0,8})", re.ASCII)


class Moment(Protocol):
    """A snapshot of a dataset."""

    @property
    def host(self) -> str:
        """Untrusted text."""

    @property
    def time(self) -> str:
        """UTC, as 20261127T201500Z."""


class TablesOnDemand(Mapping[str, SnapshotTable]):
    """The tables of a snapshot of a dataset. Each is read when it is first needed."""

    def __init__(self, dataset: Path, host: str, time: str) -> None:
        """Read the header; raises PageInspectError, as reading other tables does."""
        self._place = dataset, host, time
        self._tables: dict[str, SnapshotTable] = {}
        self._names = (HEADER, *self[HEADER]["tables"][0])

    def __getitem__(self, name: str) -> SnapshotTable:
        if name not in self._tables:
            from ..dataset.read import read_snapshot

            self._tables |= read_snapshot(*self._place, tables=(name,)).tables
        return self._tables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def open_saved(dataset: Path, time: str | None = None, host: str | None = None) -> SavedReports:
    """Return the reports of a snapshot of a dataset; see choose(). Raises PageInspectError."""
    at, of = (f"@{time}" if time else ""), (f"#{host}" if host else "")
    return SavedReports(snapshot_in(dataset, time, host), f"{dataset}{at}{of}")


def snapshot_in(dataset: Path, time: str | None = None, host: str | None = None) -> Snapshot:
    """Return a snapshot of a dataset, whose tables are read on demand; see choose().

    Raises PageInspectError, also when a table is read.
    """
    # Imported here: only a dataset needs pyarrow.
    from ..dataset.read import snapshots

    def opened(moment: Moment) -> Snapshot:
        tables = TablesOnDemand(dataset, moment.host, moment.time)
        return Snapshot(moment.host, moment.time, tables)

    def error_of(moment: Moment) -> str | None:
        found = opened(moment)
        error = found.header("error")
        if error is None and list(found.header("tables")) == ["frees"]:
            return "it has typed frees alone, which `pageinspect fleet` reads"
        return None if error is None else str(error)

    return opened(choose(dataset, snapshots(dataset), time, host, error_of))


def choose(
    dataset: Path,
    found: Sequence[Moment],
    time: str | None,
    host: str | None,
    error_of: Callable[[Moment], str | None] = lambda _: None,
) -> Moment:
    """Return the snapshot of a dataset that a host and a time mean.

    `found` are its snapshots, sorted by host and time. `time` is the beginning of a time such as
    20261127T201500Z or 2026-11-27T20:15, or -1 for the newest, -2 for the one before; None is the
    newest. Those of kernels that could not be read, whose error is error_of(), are not among them.
    `host` may be omitted if there is one host whose kernel could be read. It may have control
    characters escaped, as they are shown. Raises PageInspectError if not exactly one snapshot is
    meant.
    """
    where = printable(str(dataset))
    if not found:
        raise PageInspectError(
            f"{where} has no snapshots", "pageinspect snapshot -o DATASET adds one"
        )
    hosts = list(dict.fromkeys(each.host for each in found))
    if host is not None and host not in hosts:
        shown = [each for each in hosts if printable(each) == host]
        host = shown[0] if len(shown) == 1 else host
    if host is None:
        read = (each for each in hosts if _has_memory(found, each, error_of))
        host, *others = [*islice(read, 2)] or hosts
        if others:
            raise PageInspectError(
                f"{where} has snapshots of {counted(len(hosts), 'host')}",
                f"choose one: {_some([f'{where}#{printable(each)}' for each in hosts])}",
            )
    elif host not in hosts:
        own, _, at = host.rpartition("@")
        raise PageInspectError(
            f"{where} has no snapshot of the host {printable(host)}",
            f"the time is before the host: {where}@{printable(f'{at}#{own}')}"
            if own in hosts
            else did_you_mean(host, hosts, f"it has: {_some([printable(each) for each in hosts])}"),
        )
    of_host = [each for each in found if each.host == host]
    numbered = _NUMBERED.fullmatch(time or "-1")
    if numbered is None:
        return _at(where, of_host, time or "")
    n = int(numbered[1])
    newest = list(islice((m for m in reversed(of_host) if error_of(m) is None), n))
    if len(newest) == n:
        return newest[-1]
    if not newest:
        why = printable(error_of(of_host[-1]) or "")
        raise PageInspectError(
            f"the only snapshot of {printable(host)} has no memory: {why}"
            if len(of_host) == 1
            else f"no snapshot of {printable(host)} has memory; the newest: {why}",
            f"pageinspect snapshot -o {where} adds one of this machine, and pageinspect snapshot "
            f"CORE -o {where} one of a core that can be read",
        )
    raise PageInspectError(
        f"{where} has {counted(len(newest), 'snapshot')} of {printable(host)}, and not {n}",
        f"the oldest is @{newest[-1].time}",
    )


def _has_memory(
    found: Sequence[Moment], host: str, error_of: Callable[[Moment], str | None]
) -> bool:
    """Return whether a kernel of the host could be read."""
    return any(error_of(each) is None for each in reversed(found) if each.host == host)


def _at(where: str, of_host: Sequence[Moment], time: str) -> Moment:
    """Return the snapshot whose time begins with a text; raises PageInspectError."""
    from ..dataset.paths import beginning_of

    beginning = beginning_of(time)
    if beginning is None:
        raise PageInspectError(
            f"{printable(time)} is not a time such as 20261127T201500Z, or -1 for the newest",
            "2026-11-27T20:15 is the same minute; the beginning is enough if one snapshot has it",
        )
    matches = [each for each in of_host if each.time.startswith(beginning)]
    host = printable(of_host[0].host)
    if len(matches) > 1:
        raise PageInspectError(
            f"{where} has {counted(len(matches), 'snapshot')} of {host} at {printable(time)}",
            f"choose one: {_some([f'@{each.time}' for each in matches])}",
        )
    if not matches:
        times = [each.time for each in of_host]
        at = bisect(times, beginning)
        near = times[max(at - 1, 0) : at + 1]
        raise PageInspectError(
            f"{where} has no snapshot of {host} at {printable(time)}",
            f"the nearest: {_some([f'@{each}' for each in near])}",
        )
    return matches[0]


def _some(texts: Sequence[str]) -> str:
    more = len(texts) - _MOST_NAMED
    shown = ", ".join(texts[:_MOST_NAMED])
    return f"{shown} and {more:,} more" if more > 0 else shown
