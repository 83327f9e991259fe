# SPDX-License-Identifier: GPL-2.0-only
"""What changed between two snapshots: amounts before and after, by the names of a table."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..model.snapshot import Names, Snapshot, SnapshotTable
from .comparable import of_one_boot, table_of

UNREADABLE = "unreadable"
"""The name of rows whose name is null."""
FILE_KINDS = ("file", "shmem")
"""Kinds of owner whose names are paths."""
CACHE_KIND = "slab"
TASK_KINDS = ("anon", "stack", "table")
"""Kinds of owner whose names may have the pid of a process: bash[812]."""
_PID = re.compile(r"\[\d+\]")

State = Literal["", "came", "went"]
Amounts = dict[tuple[str, ...], tuple[int, ...]]


class Change(NamedTuple):
    """The amounts of one name before and after, in the order of Dimension.measures."""

    key: tuple[str, ...]
    """Untrusted texts."""
    before: tuple[int, ...]
    """Zeros for a name that came."""
    after: tuple[int, ...]
    """Zeros for a name that went."""
    state: State = ""

    @property
    def change(self) -> tuple[int, ...]:
        """The differences."""
        return tuple(b - a for a, b in zip(self.before, self.after, strict=True))


@dataclass(frozen=True, slots=True)
class ComparedBy:
    """What rows are compared by."""

    table: str
    """The table of the snapshots that it needs."""
    keys: tuple[str, ...]
    measures: tuple[str, ...]
    """pages, or amounts in bytes. Rows are sorted by the first."""
    amounts: Callable[[SnapshotTable, bool], Amounts]
    """Returns the amounts by key; the second argument is whether pids have a meaning."""


def _texts(names: Names, null: str) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return a number for each row, (n,), and the text of each number; equal texts have one."""
    numbers: dict[str, int] = {}
    every = [numbers.setdefault(text, len(numbers)) for text in (*names.values, null)]
    return np.array(every, np.int64)[np.maximum(names.codes, -1)], [*numbers]


def _sums(
    columns: Sequence[Names], measures: Sequence[npt.NDArray[np.int64]], null: str = ""
) -> Amounts:
    """Return the sums of the measures by the texts of the columns."""
    rows = len(columns[0])
    combined, texts = np.zeros(rows, np.int64), []
    for names in columns:
        codes, values = _texts(names, null)
        texts.append((codes, values))
        # Numbered anew for each column, so that products stay small.
        combined = np.unique(combined * len(values) + codes, return_inverse=True)[1]
    _, first, places = np.unique(combined, return_index=True, return_inverse=True)
    totals = []
    for measure in measures:
        total = np.zeros(len(first), np.int64)
        np.add.at(total, places, measure)
        totals.append(total.tolist())
    keys = zip(
        *([values[code] for code in codes[first].tolist()] for codes, values in texts), strict=True
    )
    return dict(zip(keys, zip(*totals, strict=True), strict=True))


def _by_run(name: str) -> ComparedBy:
    def amounts(runs: SnapshotTable, _pids: bool) -> Amounts:  # noqa: FBT001 - as declared
        return _sums([runs[name]], [runs["pages"]], UNREADABLE)

    return ComparedBy("runs", (name,), ("pages",), amounts)


def _without_pids(owners: SnapshotTable, names: Names) -> Names:
    """Return the names of owners without pids, where they are those of processes."""
    kinds, of_kinds = _texts(owners["kind"], "")
    of_task = np.isin(kinds, [i for i, kind in enumerate(of_kinds) if kind in TASK_KINDS])
    plain = tuple(_PID.sub("", value) for value in names.values)
    n = len(names.values)
    moved = np.where(of_task & (names.codes >= 0), names.codes + n, names.codes)
    return Names(moved.astype(np.int32), (*names.values, *plain))


def _by_owner(*keys: str, kinds: Sequence[str] = ()) -> ComparedBy:
    def amounts(owners: SnapshotTable, pids: bool) -> Amounts:  # noqa: FBT001 - as declared
        columns: dict[str, Names] = {key: owners[key] for key in keys}
        pages = owners["pages"]
        if "name" in columns and not pids:
            columns["name"] = _without_pids(owners, columns["name"])
        if kinds:
            codes, values = _texts(owners["kind"], "")
            chosen = np.isin(codes, [i for i, value in enumerate(values) if value in kinds])
            columns = {key: names.where(chosen) for key, names in columns.items()}
            pages = pages[chosen]
        return _sums([*columns.values()], [pages])

    return ComparedBy("owners", keys, ("pages",), amounts)


def _processes(processes: SnapshotTable, pids: bool) -> Amounts:  # noqa: FBT001 - as declared
    """Return pss and rss by pid and name, or by name with each address space once."""
    found: Amounts = {}
    seen: set[tuple[str, int]] = set()
    columns = (processes[name].tolist() for name in ("pid", "mm", "pss", "rss"))
    for comm, pid, mm, pss, rss in zip(processes["comm"], *columns, strict=True):
        if pss is None or rss is None:
            continue
        key = (str(pid) if pids else "", comm)
        if not pids and (comm, mm) in seen:
            continue
        seen.add((comm, mm))
        have = found.get(key, (0, 0))
        found[key] = have[0] + pss, have[1] + rss
    return found


def _cgroups(cgroups: SnapshotTable, _pids: bool) -> Amounts:  # noqa: FBT001 - as declared
    return _sums([cgroups["cgroup"]], [cgroups["bytes"], cgroups["pages"]])


BY: Mapping[str, ComparedBy] = {
    "type": _by_run("type"),
    "use": _by_run("use"),
    "owner": _by_owner("kind"),
    "name": _by_owner("kind", "name"),
    "process": ComparedBy("processes", ("pid", "comm"), ("pss", "rss"), _processes),
    "file": _by_owner("name", "filesystem", kinds=FILE_KINDS),
    "cache": _by_owner("name", kinds=(CACHE_KIND,)),
    "cgroup": ComparedBy("cgroups", ("cgroup",), ("bytes", "pages"), _cgroups),
    "zone": _by_run("zone"),
}
"""What two snapshots can be compared by."""


def differences(before: Snapshot, after: Snapshot, by: str) -> tuple[Change, ...]:
    """Return a Change for every name of either snapshot, those that changed most first.

    `by` is one of BY. Pids are compared only within one boot. Raises PageInspectError if a
    snapshot lacks the table.
    """
    compared = BY[by]
    pids = of_one_boot(before, after)
    left, right = (
        compared.amounts(table_of(snapshot, compared.table, f"--by {by}"), pids)
        for snapshot in (before, after)
    )
    nothing = (0,) * len(compared.measures)
    found = []
    for key in {**left, **right}:
        state: State = "came" if key not in left else "went" if key not in right else ""
        found.append(Change(key, left.get(key, nothing), right.get(key, nothing), state))
    return tuple(sorted(found, key=_place))


def _place(change: Change) -> tuple[Any, ...]:
    return (*(-abs(n) for n in change.change), change.key)


def changed(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Return those that differ, came or went."""
    return tuple(change for change in changes if change.state or any(change.change))
