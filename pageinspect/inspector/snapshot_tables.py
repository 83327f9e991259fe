# SPDX-License-Identifier: GPL-2.0-only
"""Makes the tables of a snapshot from what a walk has found, with names instead of numbers."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..analysis.contiguity import Grid
from ..analysis.counter_check import CounterCheck
from ..analysis.mobility import MOBILITY_NAMES, REMEDIES, Integers
from ..analysis.page_runs import PageRuns
from ..classify import UNTYPED, code_name, use_name
from ..model.pageblocks import UNKNOWN, Pageblocks
from ..model.snapshot import Names, SnapshotTable
from ..owners.counts import OwnerPages, added
from ..owners.hugetlb import parts_of
from ..owners.table import KINDS, NUMBER
from ..report.owner_rows import cgroup_rows
from ..report.processes import COUNTERS, NUMBERS, MmUse, ProcessesReport
from .inspector import Inspector
from .owner_names import OwnerNames
from .owners import sizes_by_cgroup
from .snapshot_walk import AllRuns, RunColumns, Walked


@dataclass(frozen=True, slots=True)
class TableMaker:
    """Makes tables of one kernel."""

    inspector: Inspector
    grid: Grid
    pageblocks: Pageblocks | None
    names: OwnerNames
    has_types: bool
    """Whether the kernel's types were available."""

    def runs_and_owners(self, every: AllRuns) -> tuple[SnapshotTable, SnapshotTable]:
        """Return the tables runs and owners.

        Owners are in order of kind and key, as reports of a kernel have those that are alike.
        """
        runs, columns = every.runs, every.columns
        pages, rows = _owners(runs, columns)
        return self._runs(runs, columns, rows.astype(np.int32)), self._owners(pages)

    def _runs(self, runs: PageRuns, of: RunColumns, owners: npt.NDArray[np.int32]) -> SnapshotTable:
        layout, memory_map = self.inspector.layout, self.inspector.memory_map
        no_zone = of.zone < 0
        if "zone" in layout.unavailable:
            no_zone = np.ones_like(no_zone)
        return SnapshotTable(
            "runs",
            {
                "pfn": runs.starts,
                "pages": runs.lengths,
                "folios": runs.folios,
                "use": _named(of.use, lambda use: use_name(layout, use)),
                "type": _named(of.code, lambda code: code_name(layout.scheme, code)),
                "untyped": _named(
                    of.code, lambda code: UNTYPED[code], ~np.isin(of.code, [*UNTYPED])
                ),
                "order": runs.orders,
                "zone": _named(of.zone, memory_map.zone_name, no_zone),
                "node": np.ma.MaskedArray(of.node, of.zone < 0),
                "migratetype": self._migratetypes(of.migratetype),
                "freeing": of.freeing,
                "mobility": _named(
                    of.mobility,
                    MOBILITY_NAMES.__getitem__,
                    None if self.has_types else np.ones(len(of.mobility), np.bool_),
                ),
                "remedy": _named(of.remedy, REMEDIES.__getitem__),
                "owner": owners,
            },
        )

    def _migratetypes(self, types: npt.NDArray[np.uint8]) -> Names:
        names = () if self.pageblocks is None else self.pageblocks.names
        return _named(types, names.__getitem__, types == UNKNOWN)

    def _owners(self, pages: OwnerPages) -> SnapshotTable:
        rows: list[Any] = [None] * len(pages)
        for number in np.unique(pages.kinds).tolist():
            at = np.flatnonzero(pages.kinds == number).tolist()
            kind, keys = KINDS[number].name, pages.keys[at].tolist()
            names = self.names.names(kind, keys)
            for i, key, name, n in zip(at, keys, names, pages.pages[at].tolist(), strict=True):
                reserved = self._reserved(key) if number == NUMBER["hugetlb"] else None
                where = (name.caller or None, name.file_system or None)
                rows[i] = (i, kind, name.name, *where, n, reserved)
        return SnapshotTable.of_rows("owners", rows)

    def _reserved(self, key: int) -> int | None:
        """Return how many pages of free huge pages are reserved; None for huge pages in use."""
        return None if parts_of(key)[1] else self.names.reserved_huge_pages.get(key, 0)

    def blocks(self, walked: Walked) -> SnapshotTable:
        """Return the table of blocks that have pages."""
        counts = walked.blocks.counts
        pages = counts.sum(axis=1, dtype=np.int64)
        there = np.flatnonzero(pages)
        zones, at = self.grid.zones, self.grid.zone_of(there)
        starts = self.grid.starts(there)
        types = np.full(len(there), UNKNOWN, np.uint8)
        if self.pageblocks is not None:
            types = self.pageblocks.of(starts)
        return SnapshotTable(
            "blocks",
            {
                "pfn": starts,
                "zone": _named(at, lambda zone: zones[zone].name),
                "node": np.ma.MaskedArray(
                    np.array([zone.node for zone in zones], np.int32)[at],
                    np.zeros(len(at), np.bool_),
                ),
                "migratetype": self._migratetypes(types),
                "pages": pages[there],
                **{name: counts[there, i] for i, name in enumerate(MOBILITY_NAMES)},
                "uses": list(self._uses(walked)),
            },
        )

    def _uses(self, walked: Walked) -> Iterator[dict[str, int]]:
        """Yield the pages by use of each block that has pages."""
        blocks, uses, pages = walked.of_blocks.sums()
        layout = self.inspector.layout
        names = {use: use_name(layout, use) for use in np.unique(uses).tolist()}
        texts, numbers = [names[use] for use in uses.tolist()], pages.tolist()
        begins = np.flatnonzero(np.diff(blocks, prepend=-1)).tolist()
        for start, end in zip(begins, [*begins[1:], len(texts)], strict=True):
            yield dict(zip(texts[start:end], numbers[start:end], strict=True))

    def cgroups(self, walked: Walked) -> SnapshotTable:
        """Return the table of memory cgroups by kind of owner."""
        size = self.inspector.layout.page_size
        sizes = sizes_by_cgroup(self.names, walked.charged.counts(), walked.slabs.bytes, size)
        return SnapshotTable.of_rows(
            "cgroups",
            (
                (r.name, r.kind, r.pages, r.pages * size + r.more_bytes)
                for r in cgroup_rows(sizes, size)
            ),
        )


def _owners(runs: PageRuns, columns: RunColumns) -> tuple[OwnerPages, Integers]:
    """Return the pages of each owner, sorted by kind and key, and the owner of each run."""
    order = np.lexsort((columns.key, columns.kind))
    kinds, keys = columns.kind[order], columns.key[order]
    begins = np.ones(len(order), np.bool_)
    begins[1:] = (kinds[1:] != kinds[:-1]) | (keys[1:] != keys[:-1])
    rows = np.empty(len(order), np.int64)
    rows[order] = np.cumsum(begins) - 1
    no_groups = np.zeros(len(order), np.uint64)
    return added([OwnerPages(kinds, keys, no_groups, runs.lengths[order])]), rows


def _named(
    numbers: npt.NDArray[Any],
    name: Callable[[int], str],
    without: npt.NDArray[np.bool_] | None = None,
) -> Names:
    """Return the names of numbers; null for those `without` one."""
    given = numbers if without is None else numbers[~without]
    known = np.unique(given)
    codes = np.searchsorted(known, numbers).astype(np.int32)
    if without is not None:
        codes[without] = -1
    return Names(codes, tuple(name(number) for number in known.tolist()))


def counters_of(checks: Iterable[tuple[str, Iterable[CounterCheck]]]) -> SnapshotTable:
    """Return the table of counters for the checks of each report."""
    return SnapshotTable.of_rows(
        "counters",
        (
            (
                *(report, check.name, list(check.uses), check.counter),
                *(check.counted, check.before, check.kernel, check.verdict, check.why),
            )
            for report, several in checks
            for check in several
        ),
    )


def processes_of(report: ProcessesReport) -> SnapshotTable:
    """Return the table of processes."""
    return SnapshotTable.of_rows(
        "processes",
        (
            (
                *(row.pid, row.comm, row.cgroup, row.mm, row.exe),
                *_numbers(row.use),
                row.use.whole,
                *(row.use.counted()[name] for name in COUNTERS),
            )
            for row in report.processes
        ),
    )


def _numbers(use: MmUse) -> list[int | None]:
    return [getattr(use, name) if use.readable else None for name in NUMBERS]
