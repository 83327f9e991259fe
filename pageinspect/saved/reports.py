# SPDX-License-Identifier: GPL-2.0-only
"""The reports of a snapshot: equal to those of the kernel at the time, but for its provenance."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

from ..analysis.contiguity import cut
from ..analysis.counter_check import CounterCheck
from ..errors import PageInspectError, needs_struct_pages
from ..model import ranges
from ..model.arch import PAGE_SIZE, SECTION_PFNS
from ..model.memory_map import MemoryMap
from ..model.processes import MmCounters
from ..model.range_text import resolve
from ..model.snapshot import Snapshot, SnapshotTable
from ..report import summary
from ..report.base import Coverage, coverage_of
from ..report.contiguity import ContiguityReport
from ..report.contiguity_counts import ContiguityCounter, PlacedPages
from ..report.dimensions import check_dimensions
from ..report.listing import Listing, RunsListing, runs_of
from ..report.overlaps import Overlap
from ..report.owner_choice import asked_owners, choose
from ..report.owner_rows import OwnerRows, check_by, most_named
from ..report.owners import OwnersReport
from ..report.processes import NUMBERS, MmUse, ProcessesReport, ProcessRow, check_sort
from ..report.selection import (
    OwnedPages,
    Request,
    Selection,
    check_available,
    check_request,
    selection_of,
)
from ..report.summary import SummaryReport, count
from ..units import printable
from .kernel import damaged, kernel_of, layout_of, memory_map_of
from .owners import SavedOwners
from .runs import NO_MOBILITY, SavedRuns, runs_of_table

Kind = TypeVar("Kind", bound=Listing)

_SECTIONS = 64
"""Memory sections whose blocks are counted at a time, to bound the memory that it takes."""


class SavedReports:
    """The reports of one snapshot. All methods raise PageInspectError, also if a table is missing.

    Overlaps of owners and pages by cgroup were counted for all pages: with a selection, the report
    of owners has no overlaps, except by type and use, and none by cgroup.
    """

    def __init__(self, snapshot: Snapshot, target: str = "") -> None:
        """Read the header alone; other tables are read when a report needs them.

        `target` is what names the snapshot on the command line.
        """
        self._snapshot = snapshot
        self._kernel = kernel_of(snapshot, target)
        self.provenance = self._kernel.provenance
        self.layout = layout_of(self._kernel)

    def _table(self, name: str) -> SnapshotTable:
        table = self._snapshot.tables.get(name)
        if table is None:
            raise PageInspectError(
                f"the snapshot of {printable(self._snapshot.host)} at {self._snapshot.time} has no "
                f"table {name}",
                "it was taken without it, or it could not be read: see its table snapshots",
            )
        return table

    @cached_property
    def _owners(self) -> SavedOwners:
        return SavedOwners(self._table("owners"))

    @cached_property
    def _runs(self) -> SavedRuns:
        table, spanned = self._table("runs"), self._snapshot.header("spanned")
        return runs_of_table(table, self._kernel, self.layout, self._owners.ids, spanned)

    @cached_property
    def _memory_map(self) -> MemoryMap:
        return memory_map_of(self._kernel, self._runs.spanned)

    def _missing(self, report: str) -> tuple[str, ...]:
        return self._kernel.missing.get(report, ())

    def _select(self, request: Request) -> tuple[SavedRuns, Selection]:
        """Return the runs in the ranges and of the owners of a request, and the Selection."""
        check_request(self.layout, request)
        wanted = resolve(request.pfn, self._memory_map, self.layout.page_shift)
        runs = self._runs.within(wanted) if request.pfn else self._runs
        owned = None
        if request.owners:
            found = self._owners.ranges(runs)
            mask, keys = choose(found, asked_owners(self.layout, request.owners), self._owners)
            owned = OwnedPages(found.of(mask), keys, self._missing("owners"))
        read, selection = selection_of(self.layout, request, wanted, owned)
        return (runs if owned is None else runs.within(read)), selection

    def _checks(self, report: str) -> tuple[CounterCheck, ...]:
        """Return the counter checks of the totals by type, use or owner, if there are any."""
        table = self._snapshot.tables.get("counters")
        if table is None:
            return ()
        columns = [table[name] for name in ("report", "name", "uses", "counter")]
        columns += [table[name] for name in ("counted", "before", "kernel", "verdict", "why")]
        rows = zip(*(_plain(column) for column in columns), strict=True)
        return tuple(
            CounterCheck(name, tuple(uses), *rest)
            for of_report, name, uses, *rest in rows
            if of_report == report
        )

    def summary(
        self, by: Sequence[str], request: Request, *, counters: bool = True
    ) -> SummaryReport:
        """Count pages as inspector.summary.summarise() does."""
        check_dimensions(by)
        check_available(self.layout, *by)
        runs, selection = self._select(request)
        counts = count(self.layout, selection, by, [runs], self._owners.kinds_of)
        found = summary.summarise(
            self.provenance, self.layout, self._memory_map, selection, by, counts
        )
        if "owner" in by:
            missing = dict.fromkeys((*found.coverage.missing, *self._missing("owners")))
            found = replace(found, coverage=replace(found.coverage, missing=tuple(missing)))
        compared = counters and list(by) in (["type"], ["use"]) and request.everything
        if compared and found.coverage.complete:
            found = replace(found, counters=self._checks(by[0]))
        return found

    def list(self, kind: type[Kind], request: Request) -> Kind:
        """List runs of pages as inspector.listing.list_pages() does."""
        if not issubclass(kind, RunsListing):
            raise needs_struct_pages("list --each")
        runs, selection = self._select(request)
        return kind(self.provenance, self.layout, selection, [runs_of(selection, [runs])])

    def owners(
        self, by: str, request: Request, *, top: int | None = None, name_all: bool = True
    ) -> OwnersReport:
        """Count pages by owner as inspector.owners.count_owners() does."""
        check_by(by)
        if by == "cgroup" and not request.everything:
            raise PageInspectError(
                "a snapshot has the pages of cgroups only for all pages",
                "omit --pfn, --type, --use and --owner, or give the core that it was taken of",
            )
        runs, selection = self._select(request)
        selected = selection.of(runs)
        pages = self._owners.pages(runs if selected is None else runs.where(selected))
        named = most_named(self.layout, by, top, name_all=name_all)
        page_size = self.layout.page_size
        rows = OwnerRows(self._owners, by, named, page_size, whole=request.everything)
        rows.of(pages, self._by_cgroup() if by == "cgroup" else ())
        of_all = not (request.pfn or request.owners)
        return OwnersReport(
            self.provenance,
            self.layout,
            self._coverage(selection.spanned, runs.unreadable, "owners"),
            by,
            rows.rows,
            rows.unnamed,
            rows.others,
            rows.largest,
            self._checks("owner") if request.everything and not runs.unreadable else (),
            tuple(Overlap(*overlap) for overlap in self._kernel.overlaps) if of_all else (),
            top,
        )

    def _by_cgroup(self) -> Iterator[tuple[str, str, int]]:
        table = self._table("cgroups")
        columns = (_plain(table[name]) for name in ("kind", "cgroup", "bytes"))
        return zip(*columns, strict=True)

    def _coverage(self, spanned: int, unreadable: int, report: str) -> Coverage:
        missing = self._missing(report)
        return coverage_of(self.provenance, self.layout, spanned, unreadable, missing)

    def processes(self, sort: str, top: int | None = None) -> ProcessesReport:
        """Return the memory use of processes as inspector.processes.list_processes() does."""
        check_sort(sort)
        if self.layout.unavailable:
            raise self._unavailable("processes are")
        table, saved = self._table("processes"), self._kernel.processes
        if saved is None:
            raise damaged("its kernel lacks what the report of processes needs")
        columns = {name: _plain(column) for name, column in table.columns.items()}
        names = tuple(columns)
        rows = (
            _process(dict(zip(names, row, strict=True)))
            for row in zip(*columns.values(), strict=True)
        )
        return ProcessesReport(
            self.provenance,
            self.layout,
            coverage_of(
                self.provenance, self.layout, saved.spanned, saved.unreadable, saved.missing
            ),
            sort,
            tuple(rows),
            without_memory=saved.without_memory,
            ended=saved.ended,
            top=top,
        )

    def contiguity(
        self, order: int | None = None, top: int | None = None, *, pfns: bool = True
    ) -> ContiguityReport:
        """Count blocks as inspector.contiguity.find_contiguity() does."""
        if self.layout.unavailable or (self._runs.mobility == NO_MOBILITY).any():
            raise self._unavailable("contiguity is")
        pageblocks = None
        if self._kernel.pageblock_order is not None:
            names = self._kernel.migratetypes
            pageblocks = self._runs.pageblocks(self._kernel.pageblock_order, names)
        counter = ContiguityCounter(self._memory_map, pageblocks, order, pfns=pfns)
        total = counter.fresh()
        for piece in ranges.cut(self._memory_map.spanned, _SECTIONS * SECTION_PFNS):
            found = counter.fresh()
            counter.add(found, self._placed(self._runs.within(piece), counter))
            total.merge(found)
        coverage = self._coverage(self._memory_map.spanned_pages, total.unreadable, "contiguity")
        return counter.report(
            total, self._owners, self.provenance, self.layout, lambda: coverage, top
        )

    def _placed(self, runs: SavedRuns, counter: ContiguityCounter) -> PlacedPages:
        grid = counter.small
        parts = cut(runs.pfns, runs.lengths, grid.order)
        rows = parts.rows
        return PlacedPages(
            runs,
            rows,
            parts.starts,
            parts.lengths,
            self._owners.kinds_of(runs)[rows],
            self._owners.keys_of(runs)[rows],
            runs.mobility[rows],
            runs.remedies[rows],
            grid.zones_of(runs.node[rows], runs.zone[rows], parts.starts),
        )

    @staticmethod
    def _unavailable(what: str) -> PageInspectError:
        return PageInspectError(
            f"{what} not available from VMCOREINFO alone",
            "take a snapshot with this kernel's types: -s VMLINUX or --btf FILE",
        )


def _plain(column: Any) -> Sequence[Any]:
    """Return the values of a column; null is None."""
    return column.tolist() if hasattr(column, "tolist") else column


def _process(row: dict[str, Any]) -> ProcessRow:
    readable = row["rss"] is not None
    numbers = {name: row[name] or 0 for name in NUMBERS}
    counters = None
    if row["kernel_anon"] is not None:
        hugetlb = row["kernel_hugetlb"]
        counters = MmCounters(
            file=row["kernel_file"] // PAGE_SIZE,
            anon=row["kernel_anon"] // PAGE_SIZE,
            shmem=row["kernel_shmem"] // PAGE_SIZE,
            swap=row["kernel_swap"] // PAGE_SIZE,
            table_bytes=row["kernel_tables"],
            hugetlb_pages=None if hugetlb is None else hugetlb // PAGE_SIZE,
        )
    use = MmUse(**numbers, readable=readable, whole=row["complete"], counters=counters)
    return ProcessRow(row["pid"], row["comm"], row["cgroup"], row["mm"], use, row["exe"] or "")
