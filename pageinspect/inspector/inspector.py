"""Wires the walking stages: an opened kernel, and its pages as columns."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, overload

from ..analysis.counter_check import Marking
from ..classify import Pages, code_name, head_pfns, outside_heads, use_name
from ..classify.batches import Batch
from ..classify.details import Detail
from ..classify.runs import in_runs
from ..classify.selected import SelectedPages
from ..errors import PageInspectError
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
from .arguments import Address, Names, Pfns, address_text, names, pfn_texts
from .fold import fold_here

if TYPE_CHECKING:
    from .results import CheckResult, ListResult, PageResult, PagesResult, RunsResult, SummaryResult


Ranges = list[Range]
"""Named, as the class has a method of the name of their type."""


class Session:
    """What an Inspector, and those made of it, hold open."""

    def __init__(self, stack: contextlib.ExitStack | None = None) -> None:
        self._stack = stack or contextlib.ExitStack()
        self._closed = False

    def close(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        """Close it, after an error perhaps; a second time does nothing."""
        self._closed = True
        self._stack.pop_all().__exit__(kind, error, traceback)

    def check_open(self) -> None:
        """Raise PageInspectError once it is closed."""
        if self._closed:
            raise PageInspectError("this Inspector is closed", "use it within its `with` block")


@dataclass(frozen=True, slots=True, repr=False)
class Inspector:
    """A kernel that can be asked about its pages.

    What summary(), list() and page() say of a kernel that runs is by its memory map of that
    moment; `memory_map`, and so ranges(), pages() and runs(), are as when it was opened, or
    refreshed() last.
    """

    target: Target
    layout: PageLayout
    memory_map: MemoryMap
    mapped: MappedVmemmap | None = None
    """Set in processes that may read struct pages without a copy: see mapped.py."""
    kdumpfile_mappings: KdumpfileMappings | None = None
    """Of a core."""
    tables: PageTables | None = None
    """Of a core, where VMCOREINFO says where they are."""
    session: Session = field(default_factory=Session, compare=False)

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
        """Let go of the kernel; a guest that was paused runs on."""
        self.session.close()

    def refreshed(self) -> "Inspector":
        """Return an Inspector of the same kernel, with its memory map of this moment."""
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
        counters: bool = True,
    ) -> "SummaryResult":
        """Count pages, folios and bytes by type, use, zone, node or order, or by several of them.

        With `counters`, totals of the whole memory by type or by use are compared with the
        kernel's own. Raises PageInspectError.
        """
        from .results import SummaryResult, result_of
        from .summary import summarise

        report = summarise(
            self._current(),
            names(by),
            pfn_texts(pfn),
            names(type),
            names(use),
            fold=fold_here,
            counters=counters,
        )
        return result_of(SummaryResult, report)

    def check(self, *, pfn: Pfns = ()) -> "CheckResult":
        """Return the contradictions in struct pages, and totals beside the kernel's counters.

        Raises PageInspectError.
        """
        from .check import check
        from .results import CheckResult, result_of

        self.session.check_open()
        report = check(self.target, self._current, pfn_texts(pfn), fold=fold_here)
        return result_of(CheckResult, report)

    def page(self, *addresses: Address, explain: bool = False) -> "PageResult":
        """Describe single pages: pfns, texts of the command line, or drgn Objects of struct page.

        With `explain`, with the rule by which each field is read. Raises PageInspectError.
        """
        from .describe import describe_addresses
        from .results import PageResult, result_of

        texts = [address_text(address) for address in addresses]
        return result_of(PageResult, describe_addresses(self._current(), texts, explain=explain))

    @overload
    def list(
        self,
        *,
        pfn: Pfns = (),
        type: Names = (),
        use: Names = (),
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
        freeing: bool = False,
        each: Literal[True],
    ) -> "PagesResult": ...

    def list(
        self,
        *,
        pfn: Pfns = (),
        type: Names = (),  # noqa: A002
        use: Names = (),
        freeing: bool = False,
        each: bool = False,
    ) -> "ListResult":
        """List runs of pages of one use, type and order; or `each` page.

        `freeing` is only those that are typed while being freed. Raises PageInspectError.
        """
        from .listing import list_pages
        from .results import PagesResult, RunsResult

        return list_pages(
            self._current(),
            PagesResult if each else RunsResult,
            pfn_texts(pfn),
            names(type),
            names(use),
            freeing=freeing,
            fold=fold_here,
        )

    def ranges(self, *texts: str) -> Ranges:
        """Return the pfns with struct pages in ranges as the command line takes them, all for none.

        They are sorted disjoint (start, end), end exclusive. Raises UsageError.
        """
        return resolve(texts, self.memory_map, self.layout.page_shift)

    def pages(self, wanted: Sequence[Range] | None = None) -> Iterator[SelectedPages]:
        """Yield the columns of the wanted pages, in pfn order, a memory section at a time.

        `wanted` is what ranges() returns; None is every pfn that has a struct page.
        """
        return map(SelectedPages, self.sections(wanted))

    def runs(
        self, wanted: Sequence[Range] | None = None, detail: Detail = "all"
    ) -> Iterator[SelectedPages]:
        """Yield the same as pages(), with a row a run: pages that `detail` does not tell apart.

        Rows count `pages.lengths` pages each, and may come from many memory sections at a time.
        """
        return map(SelectedPages, self.sections_in_runs(wanted, detail))

    def sections(self, wanted: Sequence[Range] | None = None) -> Iterator[Pages]:
        """Yield the columns of the memory sections that hold the wanted pfns, in pfn order.

        `pages.batch.wanted` is which of their pfns were asked for.
        """
        for batch in self._batches(wanted):
            yield self._columns(batch)
            self._give_back(batch.size)

    def sections_in_runs(
        self, wanted: Sequence[Range] | None = None, detail: Detail = "all"
    ) -> Iterator[Pages]:
        """Yield the same as sections(), with a row a run. A batch may have many sections."""
        # What is mapped takes no copy while it is held.
        joined = 4 if self.mapped is None else 16
        batches = self._batches(wanted)
        for batch in in_runs(self.layout, self.memory_map, batches, detail, joined):
            yield self._columns(batch)
            self._give_back(batch.size)

    def _batches(self, wanted: Sequence[Range] | None) -> Iterator[PageBatch]:
        self.session.check_open()
        prog, layout, spanned = self.target.prog, self.layout, self.memory_map.spanned
        asked = spanned if wanted is None else wanted
        return paced(reader.walk(prog, layout, spanned, asked, self.mapped, self.tables))

    def _give_back(self, pages: int) -> None:
        """Give back what is mapped of the core's file for what was looked at."""
        if self.mapped is not None:
            self.mapped.drop_cached_pages()
        elif self.kdumpfile_mappings is not None:
            self.kdumpfile_mappings.note_read(pages * self.layout.struct_size)

    def mapping(self) -> "Inspector":
        """Return the same with the core's file mapped, where it is one that can be.

        For a process that may end when the file is cut off meanwhile.
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


def inspect(target: Target) -> Inspector:
    """Learn the layout and take the memory map of an opened kernel; raises PageInspectError."""
    prog, core = target.prog, core_path(target)
    layout = build_layout(prog, target.vmcoreinfo)
    changing = target.provenance.changing
    # What is read may be a copy without a name.
    most = None if core is None else max_sections(target.core or core)
    memory_map = read_memory_map(
        prog, layout, target.vmcoreinfo, changing=changing, max_sections=most
    )
    inspector = Inspector(target, layout, memory_map)
    if core is None:
        return inspector
    tables = None
    with contextlib.suppress(KeyError):
        tables = PageTables(prog, target.vmcoreinfo)
    return replace(inspector, kdumpfile_mappings=KdumpfileMappings(core), tables=tables)


def marking_of(target: Target) -> Marking | None:
    """Return what reads the tasks of a machine that stands still, once; None of one that runs."""
    if target.provenance.changing:
        return None

    @cache
    def read() -> dict[str, tuple[str, ...]]:
        # Totals agree more often than not.
        from ..kernel.marking import read_marking

        registers = None if target.registers is None else target.registers()
        return read_marking(target.prog, registers)

    return read
