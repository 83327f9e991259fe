# SPDX-License-Identifier: GPL-2.0-only
"""Computes the memory use of every process from its page tables."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..analysis.processes import (
    ClassRuns,
    Usage,
    UsageSums,
    UseRuns,
    class_runs,
    page_classes,
    pfns_of,
)
from ..errors import PageInspectError
from ..kernel.tasks import read_tasks
from ..model import ranges
from ..model.processes import Tasks
from ..model.ranges import Range, intersect
from ..report.base import Coverage, coverage_of
from ..report.processes import NUMBERS, MmUse, ProcessesReport, ProcessRow, check_sort
from ..units import number
from .address_spaces import AddressSpaces, read_address_spaces
from .fold import Fold
from .inspector import Inspector
from .lost_pages import with_pointer

_ATTEMPTS = 4
"""How often the lists and page tables of a running kernel are read until they are whole."""


@dataclass(frozen=True, slots=True)
class _Reading:
    spaces: AddressSpaces
    usage: Usage
    coverage: Coverage


def list_processes(
    opened: Callable[[], Inspector],
    sort: str,
    top: int | None,
    *,
    fold: Fold,
    of_pages: UseRuns | None = None,
) -> ProcessesReport:
    """Return the memory use of every process that has an address space; raises PageInspectError.

    `opened` returns an Inspector with the current memory map. It is called again if a list or page
    table of a running kernel could not be followed. `sort` is a column of the report, `top` as in
    ProcessesReport. `of_pages` are the uses of all pages, if they were read already.
    """
    check_sort(sort)
    inspector = opened()
    if inspector.layout.unavailable:
        raise PageInspectError(
            "processes are not available from VMCOREINFO alone",
            "give a file with this kernel's types: -s VMLINUX or --btf FILE",
        )
    reading = _read(inspector, fold, of_pages)
    changing = inspector.target.provenance.changing
    for _ in range(_ATTEMPTS - 1 if changing else 0):
        if reading.spaces.whole:
            break
        inspector = opened()
        reading = _read(inspector, fold, of_pages)
    tasks, ended = reading.spaces.tasks, reading.spaces.ended
    users = [process for process in tasks.processes if process.mm is not None]
    uses, cgroups = _uses(reading), _cgroups(tasks)
    rows = (
        ProcessRow(
            process.pid,
            process.comm,
            cgroups[process.pid],
            process.mm,
            uses[process.mm],
            tasks.mms[process.mm].exe,
        )
        for process in users
        if process.mm is not None and process.pid not in ended
    )
    return ProcessesReport(
        inspector.target.provenance,
        inspector.layout,
        with_pointer(inspector, reading.coverage),
        sort,
        tuple(rows),
        without_memory=len(tasks.processes) - len(users),
        ended=len(ended),
        top=top,
    )


def _read(inspector: Inspector, fold: Fold, of_pages: UseRuns | None) -> _Reading:
    spaces = read_address_spaces(inspector, deposited=True)
    sums = UsageSums(pfns_of(inspector.memory_map), len(spaces.tasks.mms))
    for part in spaces.tables:
        sums.count(part)

    wanted = intersect(sums.sections(), inspector.memory_map.spanned)
    if of_pages is None:
        classes, unreadable = _classes(inspector, wanted, fold)
    else:
        classes = of_pages.classes(inspector.memory_map, inspector.use_name)
        unreadable = of_pages.unreadable(wanted)
    usage = sums.usage(spaces.tables, classes)
    if inspector.target.provenance.changing:
        spaces = replace(spaces, ended=_ended(inspector, spaces.tasks))
    coverage = coverage_of(
        inspector.target.provenance, inspector.layout, ranges.count(wanted), unreadable
    )
    return _Reading(spaces, usage, replace(coverage, missing=_missing(spaces)))


def _classes(
    inspector: Inspector, wanted: Sequence[Range], fold: Fold
) -> tuple[npt.NDArray[np.uint8], int]:
    """Return the PageClass of each pfn, and how many of the wanted pages could not be read."""

    def work(copy: Inspector, piece: Sequence[Range]) -> ClassRuns:
        return class_runs(copy.sections_in_runs(piece, "use"), copy.use_name)

    runs = list(fold(inspector, wanted, work))
    return page_classes(inspector.memory_map, wanted, runs), sum(part.unreadable for part in runs)


def _missing(spaces: AddressSpaces) -> tuple[str, ...]:
    """Return sentences on what the report lacks."""
    sentences = list(spaces.problems())
    if spaces.incomplete():
        sentences.append(
            "Numbers of these processes are missing or too small, and pss and uss of others may be "
            "too large."
        )
    cgroups = _cgroups(spaces.tasks)
    lost = sum(cgroup is None and pid not in spaces.ended for pid, cgroup in cgroups.items())
    if lost:
        sentences.append(f"Processes whose cgroup could not be read: {number(lost)}.")
    return tuple(sentences)


def _cgroups(tasks: Tasks) -> dict[int, str | None]:
    """Return the cgroup of each process with an address space by pid; None if it is unreadable."""
    none = None if tasks.unreadable_cgroups else ""
    return {
        process.pid: process.cgroup or none for process in tasks.processes if process.mm is not None
    }


def _ended(inspector: Inspector, tasks: Tasks) -> frozenset[int]:
    """Return the pids of processes that no longer have the same address space."""
    again = read_tasks(inspector.target.prog, inspector.layout)
    if again.unreadable_lists:
        return frozenset()
    there = {
        (process.pid, again.mms[process.mm].address)
        for process in again.processes
        if process.mm is not None
    }
    return frozenset(
        process.pid
        for process in tasks.processes
        if process.mm is not None and (process.pid, tasks.mms[process.mm].address) not in there
    )


def _uses(reading: _Reading) -> list[MmUse]:
    """Return the memory use of each mm."""
    tasks, tables, usage = reading.spaces.tasks, reading.spaces.tables, reading.usage
    columns = {name: getattr(usage, name).tolist() for name in NUMBERS if name != "tables"}
    columns["tables"] = tables.accounted_bytes.tolist()
    whole = tables.whole.tolist()
    return [
        MmUse(
            **{name: column[i] for name, column in columns.items()},
            readable=mm.pgd_pfn >= 0,
            whole=whole[i],
            counters=mm.counters,
        )
        for i, mm in enumerate(tasks.mms)
    ]
