# SPDX-License-Identifier: GPL-2.0-only
"""The Inspector: an opened kernel, its pages as columns, and the commands as methods."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, overload

from ..analysis.counter_check import Marking
from ..classify import Pages, code_name, head_pfns, outside_heads, use_name
from ..classify.batches import Batch
from ..classify.batches import Pfns as Edges
from ..classify.details import Detail
from ..classify.runs import in_runs
from ..classify.selected import SelectedPages
from ..errors import PageInspectError, UsageError
from ..host.progress import paced
from ..kernel.memory_map import read_memory_map
from ..kernel.online import max_sections
from ..layout import build_layout
from ..model.batch import PageBatch
from ..model.layout import PageLayout
from ..model.memory_map import MemoryMap
from ..model.range_text import resolve
from ..model.ranges import Range
from ..target.open import Target, core_path
from ..target.page_tables import PageTables
from ..vmemmap import reader
from ..vmemmap.elf_mmap import MappedVmemmap, map_vmemmap
from ..vmemmap.kdumpfile_mmap import KdumpfileMappings
from .arguments import (
    Address,
    Names,
    Pfns,
    address_text,
    all_texts,
    known_detail,
    names,
    not_negative,
    owner_texts,
    pfn_texts,
    wanted_ranges,
)
from .fold import fold_here

if TYPE_CHECKING:
    from .results import (
        AuditResult,
        CheckResult,
        ContiguityResult,
        ListResult,
        ObstaclesResult,
        OwnersResult,
        PageResult,
        PagesResult,
        ProcessesResult,
        RunsResult,
        SummaryResult,
    )


Ranges = list[Range]
"""An alias: within the class `list` is a method."""


class OpenResources:
    """The open resources of an Inspector, shared with those made from it."""

    def __init__(self, stack: contextlib.ExitStack | None = None) -> None:
        self._stack = stack or contextlib.ExitStack()
        self._closed = False
        self.has_lost_pages: bool | None = None
        """Whether the core has lost pages; None until it was examined. See lost_pages.py."""

    def close(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Close the resources; takes the arguments of __exit__(). A second call does nothing."""
        self._closed = True
        self._stack.pop_all().__exit__(kind, error, traceback)

    def check_open(self) -> None:
        """Raise PageInspectError if it is closed."""
        if self._closed:
            raise PageInspectError("this Inspector is closed", "use it within its `with` block")


@dataclass(frozen=True, slots=True, repr=False)
class Inspector:
    """An opened kernel, whose pages can be counted, listed, described and checked.

    summary(), list(), page() and check() of a running kernel read its current memory map.
    `memory_map`, and so ranges(), pages() and runs(), are those of the time when the Inspector was
    opened or made by refreshed().
    """

    target: Target
    layout: PageLayout
    memory_map: MemoryMap
    mapped: MappedVmemmap | None = None
    """The mapped file of the core, to read struct pages without a copy: see vmemmap/elf_mmap.py."""
    kdumpfile_mappings: KdumpfileMappings | None = None
    """Mappings that libkdumpfile made of the core's file; None without a core."""
    tables: PageTables | None = None
    """The kernel's page table; None without a core, or if VMCOREINFO lacks its address."""
    session: OpenResources = field(default_factory=OpenResources, compare=False)

    def __repr__(self) -> str:
        return f"<Inspector: {self.target.provenance.describe()}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.session.close(kind, error, traceback)

    def close(self) -> None:
        """Close the kernel; a guest that was paused continues to run."""
        self.session.close()

    def refreshed(self) -> "Inspector":
        """Return an Inspector of the same kernel with the current memory map."""
        self.session.check_open()
        return replace(inspect(self.target), session=self.session)

    def _current(self) -> "Inspector":
        self.session.check_open()
        return self.refreshed() if self.target.provenance.changing else self

    def summary(
        self,
        by: Names = ("type",),
        *,
        pfn: Pfns = (),
        type: Names = (),  # noqa: A002 - the option's name
        use: Names = (),
        owner: Names = (),
        counters: bool = True,
    ) -> "SummaryResult":
        """Count pages, folios and bytes by type, use, zone, node, order or owner, or by several.

        `owner` selects the pages of owners, as --owner does. With `counters`, totals of all pages
        by type or by use are compared with the kernel's counters. Raises PageInspectError.
        """
        from ..report.selection import Request
        from .results import SummaryResult, result_of
        from .summary import summarise

        report = summarise(
            self._current(),
            names(by),
            Request(pfn_texts(pfn), names(type), names(use), owner_texts(owner)),
            fold=fold_here,
            counters=counters,
        )
        return result_of(SummaryResult, report)

    def check(self, *, pfn: Pfns = ()) -> "CheckResult":
        """Find contradictions in struct pages, and compare totals with the kernel's counters.

        Raises PageInspectError.
        """
        from .check import check
        from .results import CheckResult, result_of

        self.session.check_open()
        report = check(self.target, self._current, pfn_texts(pfn), fold=fold_here)
        return result_of(CheckResult, report)

    def page(self, *addresses: Address, explain: bool = False) -> "PageResult":
        """Describe single pages: pfns, texts of the command line, or drgn Objects of struct page.

        With `explain`, each field has its raw words and the rule that decodes them. Raises
        PageInspectError.
        """
        from .describe import describe_addresses
        from .results import PageResult, result_of

        if not addresses:
            raise UsageError("no page was given", "give a pfn or an address: page(0x1000)")
        given = [address_text(address) for address in addresses]
        return result_of(PageResult, describe_addresses(self._current(), given, explain=explain))

    def owners(
        self,
        by: str = "kind",
        *,
        pfn: Pfns = (),
        type: Names = (),  # noqa: A002
        use: Names = (),
        owner: Names = (),
        top: int | None = None,
    ) -> "OwnersResult":
        """Count pages by owner: by kind, name, cache, file, cgroup, caller, task or module.

        Tables for people have the `top` owners with most pages, 10 without it, and other forms all
        of them; 0 is all. Raises PageInspectError.
        """
        from ..report.selection import Request
        from .owners import count_owners
        from .results import OwnersResult, result_of

        report = count_owners(
            self._current(),
            by,
            Request(pfn_texts(pfn), names(type), names(use), owner_texts(owner)),
            fold=fold_here,
            top=None if top is None else not_negative(top, "a number of owners"),
        )
        return result_of(OwnersResult, report)

    def audit(self, *, dump_level: int | None = None) -> "AuditResult":
        """Find which pages the core lacks, because of its dump level or although it should not.

        `dump_level` is that of an ELF core, which does not have it. Raises PageInspectError, also
        if the kernel is not read from a core.
        """
        from .audit import audit_core
        from .results import AuditResult, result_of

        self.session.check_open()
        level = None if dump_level is None else not_negative(dump_level, "a dump level")
        return result_of(AuditResult, audit_core(self, fold=fold_here, dump_level=level))

    def contiguity(self, *, order: int | None = None, top: int | None = None) -> "ContiguityResult":
        """Count aligned blocks by what is in them, and rank the owners in the way of free ones.

        Blocks have 1 << `order` pages, from 3 to 18; without it, they are pageblocks and blocks of
        1 GiB. Tables for people have `top` owners, 10 without it, and other forms all of them; 0 is
        all. Raises PageInspectError.
        """
        from ..report.contiguity_counts import check_order
        from .contiguity import find_contiguity
        from .results import ContiguityResult, result_of

        report = find_contiguity(
            self._current(),
            fold=fold_here,
            order=None if order is None else check_order(order),
            top=None if top is None else not_negative(top, "a number of owners"),
        )
        return result_of(ContiguityResult, report)

    def obstacles(self, wanted_for: str, *, top: int | None = None) -> "ObstaclesResult":
        """Find the pages in the way of "hugepage", "gigantic", "cma", "offline:N" or "pfn:RANGE".

        Tables for people have `top` ranges of pages, 10 without it, and other forms all of them; 0
        is all. Raises PageInspectError.
        """
        from .obstacles import find_obstacles
        from .results import ObstaclesResult, result_of

        most = None if top is None else not_negative(top, "a number of ranges")
        report = find_obstacles(self._current(), wanted_for, fold=fold_here, top=most)
        return result_of(ObstaclesResult, report)

    def processes(self, *, sort: str = "pss", top: int | None = None) -> "ProcessesResult":
        """Compute the memory use of each process from its page tables.

        Tables for people have `top` processes, 10 without it, and other forms all of them; 0 is
        all. Raises PageInspectError.
        """
        from .processes import list_processes
        from .results import ProcessesResult, result_of

        self.session.check_open()
        most = None if top is None else not_negative(top, "a number of processes")
        report = list_processes(self._current, sort, most, fold=fold_here)
        return result_of(ProcessesResult, report)

    @overload
    def list(
        self,
        *,
        pfn: Pfns = (),
        type: Names = (),
        use: Names = (),
        owner: Names = (),
        freeing: bool = False,
        each: Literal[False] = False,
    ) -> "RunsResult": ...

    @overload
    def list(
        self,
        *,
        pfn: Pfns = (),
        type: Names = (),
        use: Names = (),
        owner: Names = (),
        freeing: bool = False,
        each: Literal[True],
    ) -> "PagesResult": ...

    def list(
        self,
        *,
        pfn: Pfns = (),
        type: Names = (),  # noqa: A002
        use: Names = (),
        owner: Names = (),
        freeing: bool = False,
        each: bool = False,
    ) -> "ListResult":
        """List runs of pages of one use, type and order; or `each` page.

        `freeing` selects pages that are being freed with a type set. Raises PageInspectError.
        """
        from ..report.selection import Request
        from .listing import list_pages
        from .results import PagesResult, RunsResult

        return list_pages(
            self._current(),
            PagesResult if each else RunsResult,
            Request(pfn_texts(pfn), names(type), names(use), owner_texts(owner), freeing),
            fold=fold_here,
        )

    def ranges(self, *texts: str) -> Ranges:
        """Return the pfns with a struct page in these ranges, given as texts of --pfn; none is all.

        The result is sorted, disjoint (start, end), end exclusive. Raises UsageError.
        """
        hint = "give texts as for --pfn, such as zone:DMA32"
        wanted = all_texts(texts, "a text for a range of pfns", hint)
        return resolve(wanted, self.memory_map, self.layout.page_shift)

    def pages(self, wanted: Sequence[Range] | None = None) -> Iterator[SelectedPages]:
        """Yield the columns of the wanted pages in pfn order, one memory section at a time.

        `wanted` is what ranges() returns, or other (start, end) pairs; None is every pfn that has a
        struct page. Raises UsageError.
        """
        return map(SelectedPages, self.sections(_checked(wanted)))

    def runs(
        self, wanted: Sequence[Range] | None = None, detail: Detail = "all"
    ) -> Iterator[SelectedPages]:
        """Yield the same as pages() with a row per run, whose pages agree in what `detail` has.

        `pages.lengths` has the number of pages of each row. One item may have several memory
        sections. Raises UsageError.
        """
        return map(SelectedPages, self.sections_in_runs(_checked(wanted), known_detail(detail)))

    def sections(self, wanted: Sequence[Range] | None = None) -> Iterator[Pages]:
        """Yield the columns of the memory sections that hold the wanted pfns, in pfn order.

        `pages.batch.wanted` has which of their pfns are wanted.
        """
        for batch in self._batches(wanted):
            yield self._columns(batch)
            self._give_back(batch.size)

    def sections_in_runs(
        self,
        wanted: Sequence[Range] | None = None,
        detail: Detail = "all",
        edges: Edges | None = None,
    ) -> Iterator[Pages]:
        """Yield the same as sections() with a row per run; one item may have several sections.

        `edges` are sorted pfns at which runs begin in any case.
        """
        # Sections of a mapped file are not copied, so more of them can be held.
        joined = 4 if self.mapped is None else 16
        batches = self._batches(wanted)
        for batch in in_runs(self.layout, self.memory_map, batches, detail, joined, edges):
            yield self._columns(batch)
            self._give_back(batch.size)

    def _batches(self, wanted: Sequence[Range] | None) -> Iterator[PageBatch]:
        self.session.check_open()
        prog, layout, spanned = self.target.prog, self.layout, self.memory_map.spanned
        asked = spanned if wanted is None else wanted
        return paced(reader.walk(prog, layout, spanned, asked, self.mapped, self.tables))

    def _give_back(self, pages: int) -> None:
        """Unmap the parts of the core's file that have been read."""
        if self.mapped is not None:
            self.mapped.drop_cached_pages()
        elif self.kdumpfile_mappings is not None:
            self.kdumpfile_mappings.note_read(pages * self.layout.struct_size)

    def mapping(self) -> "Inspector":
        """Return the same Inspector with the core's file mapped, if its format allows that.

        If another process truncates the file, access raises SIGBUS: call this only in a process
        that may be killed.
        """
        core = core_path(self.target)
        if core is None or self.target.provenance.source == "live":
            return self
        prog, vmcoreinfo = self.target.prog, self.target.vmcoreinfo
        return replace(self, mapped=map_vmemmap(prog, self.layout, vmcoreinfo, core))

    def _columns(self, batch: Batch) -> Pages:
        heads = head_pfns(self.layout, batch)
        outside = outside_heads(batch, heads)
        outer = reader.read_folio_heads(self.target.prog, self.layout, outside)
        return Pages(self.layout, self.memory_map, batch, heads, outside, outer)

    def use_name(self, use: int) -> str:
        """Return the name of a value of the column `use`."""
        return use_name(self.layout, use)

    def type_name(self, code: int) -> str:
        """Return the name of a value of the column `code`."""
        return code_name(self.layout.scheme, code)


def _checked(wanted: Sequence[Range] | None) -> Sequence[Range] | None:
    return None if wanted is None else wanted_ranges(wanted)


def inspect(target: Target) -> Inspector:
    """Return the Inspector of an opened kernel, with its layout and memory map read.

    Raises PageInspectError.
    """
    prog, core = target.prog, core_path(target)
    layout = build_layout(prog, target.vmcoreinfo)
    changing = target.provenance.changing
    # `core` may be a temporary copy of the core that was given.
    most = None if core is None else max_sections(target.core or core)
    memory_map = read_memory_map(
        prog, layout, target.vmcoreinfo, changing=changing, max_sections=most
    )
    return inspector_of(target, layout, memory_map)


def inspector_of(target: Target, layout: PageLayout, memory_map: MemoryMap) -> Inspector:
    """Return the Inspector of an opened kernel with this layout and memory map."""
    inspector, core = Inspector(target, layout, memory_map), core_path(target)
    if core is None:
        return inspector
    tables = None
    with contextlib.suppress(KeyError):
        tables = PageTables(target.prog, target.vmcoreinfo)
    return replace(inspector, kdumpfile_mappings=KdumpfileMappings(core), tables=tables)


def marking_of(target: Target) -> Marking | None:
    """Return the function that reads the tasks of a stopped machine; None for a running one."""
    if target.provenance.changing:
        return None

    @cache
    def read() -> dict[str, tuple[str, ...]]:
        # Imported here because it is seldom needed: totals usually agree.
        from ..kernel.marking import read_marking

        registers = None if target.registers is None else target.registers()
        return read_marking(target.prog, registers)

    return read
