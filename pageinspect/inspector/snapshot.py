# SPDX-License-Identifier: GPL-2.0-only
"""Takes a snapshot of a kernel's memory: all tables that need no kernel any more."""

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..analysis.contiguity import Grid
from ..analysis.counter_check import CounterCheck, compare_counters
from ..dataset import paths
from ..errors import PageInspectError
from ..kernel.boot import crash_time, read_boot_id, read_clock, read_host
from ..kernel.counters import read_counters
from ..kernel.memory_blocks import read_memory_blocks
from ..model.counters import Counters
from ..model.saved_kernel import SavedKernel, SavedProcesses
from ..model.snapshot import HEADER, Snapshot
from ..owners.counters import compare_owners
from ..report.contiguity import HUGE_ORDER
from ..report.overlaps import overlaps_of
from .fold import Fold
from .inspector import Inspector, marking_of
from .lost_pages import core_of, pointed
from .processes import list_processes
from .snapshot_header import header_of, kernel_without_memory
from .snapshot_tables import TableMaker, counters_of, processes_of
from .snapshot_walk import AllRuns, SnapshotWalk, Walked
from .sweep import Sweep

if TYPE_CHECKING:
    from ..report.processes import ProcessesReport

TAKEN = ("runs", "owners", "processes", "counters", "blocks", "cgroups")
"""The tables that take() makes, in addition to the row of the table snapshots."""
_NEED_TYPES = ("processes", "blocks", "cgroups")


def host_of(inspector: Inspector) -> str:
    """Return the name of the machine by its kernel: untrusted text; empty if it is unreadable."""
    return read_host(inspector.target.prog, inspector.target.vmcoreinfo)


def time_of(inspector: Inspector) -> int:
    """Return the moment of the memory that is read, in microseconds since 1970.

    It is now for a kernel that runs, and for a guest. Of a core it is when the kernel crashed, by
    VMCOREINFO, else the time of the kernel's own clock, else that of the file.
    """
    target = inspector.target
    if target.provenance.source != "core":
        return time.time_ns() // 1000
    found = crash_time(target.vmcoreinfo) or read_clock(target.prog).now
    core = core_of(target)
    if found is None and core is not None:
        with contextlib.suppress(OSError):
            found = core.stat().st_mtime_ns // 1000
    return found or 0


def is_of(snapshot: Snapshot, inspector: Inspector) -> bool:
    """Return whether a snapshot may be of this boot of this kernel; False if it has an error."""
    prog = inspector.target.prog
    own = {
        "release": inspector.target.provenance.release,
        "boot_id": read_boot_id(prog),
        "boot_time": read_clock(prog).boot,
    }
    pairs = ((snapshot.header(name), value) for name, value in own.items())
    differs = any(None not in pair and pair[0] != pair[1] for pair in pairs)
    return snapshot.header("error") is None and not differs


def is_whole(snapshot: Snapshot) -> bool:
    """Return whether a snapshot lacks nothing of its kernel, by its row of the table snapshots."""
    if any(snapshot.header(name) for name in ("unreadable", "missing", "error")):
        return False
    try:
        kernel = SavedKernel.from_json(snapshot.header("kernel"))
    except (ValueError, TypeError):
        return False
    return kernel.provenance.is_whole and not kernel.unavailable


def is_more_complete(snapshot: Snapshot, other: Snapshot) -> bool:
    """Return whether a snapshot has more pages than another one of the same memory.

    Of as many pages, that with more tables, or else with less that is missing, has more.
    """
    return _extent(snapshot) > _extent(other)


def _extent(snapshot: Snapshot) -> tuple[int, int, bool, int]:
    pages = snapshot.header("spanned") - snapshot.header("unreadable")
    tables, missing = snapshot.header("tables"), snapshot.header("missing")
    return pages, len(tables), is_whole(snapshot), -len(missing)


def take(
    inspector: Inspector, *, host: str, fold: Fold, tables: Collection[str] | None = None
) -> Snapshot:
    """Walk the memory of a kernel once, and return its tables; raises PageInspectError.

    `tables` are those of TAKEN to make; None is all. Without the kernel's types, there are no
    processes and no blocks.
    """
    asked = TAKEN if tables is None else tuple(name for name in TAKEN if name in tables)
    taken = time_of(inspector)
    sweep = Sweep(inspector, without_types=True)
    wanted = [name for name in asked if sweep.has_types or name not in _NEED_TYPES]
    blocks = sweep.pageblocks
    order = HUGE_ORDER if blocks is None else blocks.order
    memory_map = inspector.memory_map
    grid = Grid(memory_map.zones, order, memory_map.spanned)
    before = _counters(inspector) if "counters" in wanted else None
    walked = SnapshotWalk(sweep, grid, fold, "cgroups" in wanted).walked(inspector)
    every = walked.runs()
    after = _counters(inspector) if before and inspector.target.provenance.changing else before
    maker = TableMaker(inspector, grid, blocks, sweep.finder.names, sweep.has_types)
    runs, owners = maker.runs_and_owners(every)
    found = {"runs": runs, "owners": owners}
    of_owners = sweep.finder.problems
    missing = {"owners": _once(of_owners), "contiguity": _once(sweep.problems)}
    processes, failed = None, ""
    if "processes" in wanted:
        try:
            processes = list_processes(
                _current(inspector), "pid", 0, fold=fold, of_pages=every.uses()
            )
            found["processes"] = processes_of(processes)
        except PageInspectError as error:
            failed = f"processes: {error.message}."
    if "blocks" in wanted:
        found["blocks"] = maker.blocks(walked)
    if "cgroups" in wanted:
        found["cgroups"] = maker.cgroups(walked)
        more = (text for text in sweep.finder.problems if text not in of_owners)
        missing["cgroups"] = _once((*more, *walked.slabs.problems))
    if before is not None and after is not None:
        found["counters"] = counters_of(
            _Checks(inspector, sweep, walked, every, before, after).rows()
        )
    made = {name: found[name] for name in wanted if name in found}
    kernel = _kernel(inspector, sweep, walked, missing, processes)
    of_processes = kernel.processes.missing if kernel.processes else ()
    of_reports = (text for texts in kernel.missing.values() for text in texts)
    header = header_of(
        inspector.target,
        kernel,
        taken,
        made,
        missing=_once(filter(None, (*of_reports, *of_processes, failed))),
        spanned=memory_map.spanned_pages,
        unreadable=walked.unreadable,
        uses=walked.uses.totals().uses,
    )
    return Snapshot(host, paths.time_of(taken // 1_000_000), {**made, HEADER: header})


def _once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _current(inspector: Inspector) -> Callable[[], Inspector]:
    return inspector.refreshed if inspector.target.provenance.changing else lambda: inspector


def _counters(inspector: Inspector) -> Counters | None:
    try:
        return read_counters(inspector.target.prog)
    except PageInspectError:
        return None


@dataclass(frozen=True, slots=True)
class _Checks:
    """Compares the totals of a walk with the kernel's counters, as summary and owners do."""

    inspector: Inspector
    sweep: Sweep
    walked: Walked
    every: AllRuns
    before: Counters
    after: Counters

    def rows(self) -> list[tuple[str, Sequence[CounterCheck]]]:
        """Return the checks of each report; none if parts of memory are missing."""
        if self.walked.unreadable:
            return []
        before, after, marking = self.before, self.after, marking_of(self.inspector.target)
        uses = self.walked.uses.totals()
        by_kind = self.every.by_kind()
        of_owners = compare_owners(
            uses, by_kind, self.sweep.finder.structures, before, after, marking
        )
        if not self.sweep.has_types or not self.inspector.target.provenance.is_whole:
            return [("owner", of_owners)]
        types = self.walked.types.totals()
        return [
            ("type", compare_counters(types, before, after, marking)),
            ("use", compare_counters(uses, before, after, marking)),
            ("owner", of_owners),
        ]


def _kernel(
    inspector: Inspector,
    sweep: Sweep,
    walked: Walked,
    missing: Mapping[str, tuple[str, ...]],
    processes: "ProcessesReport | None",
) -> SavedKernel:
    layout, memory_map, blocks = inspector.layout, inspector.memory_map, sweep.pageblocks
    return replace(
        kernel_without_memory(inspector.target, layout),
        zones=memory_map.zones,
        zone_names=memory_map.zone_names,
        devices=memory_map.devices,
        pageblock_order=None if blocks is None else blocks.order,
        migratetypes=() if blocks is None else blocks.names,
        missing={report: pointed(inspector, texts) for report, texts in missing.items()},
        overlaps=tuple((*each,) for each in overlaps_of(walked.owned.overlaps)),
        processes=None if processes is None else _saved_processes(processes),
        memory_block_pages=_memory_block_pages(inspector),
    )


def _memory_block_pages(inspector: Inspector) -> int | None:
    try:
        return read_memory_blocks(inspector.target.prog).size
    except PageInspectError:
        return None


def _saved_processes(report: "ProcessesReport") -> SavedProcesses:
    coverage = report.coverage
    return SavedProcesses(
        coverage.spanned,
        coverage.unreadable,
        coverage.missing,
        report.without_memory,
        report.ended,
    )
