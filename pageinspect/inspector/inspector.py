"""Wires the walking stages: an opened kernel, and its pages as columns."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from drgn import Program

from ..analysis.counter_check import Marking
from ..classify import Pages, code_name, head_pfns, outside_heads, use_name
from ..classify.batches import Batch
from ..classify.details import Detail
from ..classify.runs import in_runs
from ..classify.selected import SelectedPages
from ..host.progress import paced
from ..kernel.memory_map import read_memory_map
from ..kernel.online import most_sections
from ..layout import build_layout
from ..model.batch import PageBatch
from ..model.layout import PageLayout
from ..model.memory_map import MemoryMap
from ..model.range_text import resolve
from ..model.ranges import Range
from ..target.open import Target, adopt_program, core_path
from ..target.page_tables import PageTables
from ..vmemmap import reader
from ..vmemmap.elf_mmap import MappedVmemmap, map_vmemmap
from ..vmemmap.kdumpfile_mmap import KdumpfileMappings


@dataclass(frozen=True, slots=True)
class Inspector:
    """A kernel that can be asked about its pages."""

    target: Target
    layout: PageLayout
    memory_map: MemoryMap
    mapped: MappedVmemmap | None = None
    """Set in processes that may read struct pages without a copy: see mapped.py."""
    kdumpfile_mappings: KdumpfileMappings | None = None
    """Of a core."""
    tables: PageTables | None = None
    """Of a core, where VMCOREINFO says where they are."""

    def ranges(self, *texts: str) -> list[Range]:
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
        prog, layout, spanned = self.target.prog, self.layout, self.memory_map.spanned
        asked = spanned if wanted is None else wanted
        return paced(reader.walk(prog, layout, spanned, asked, self.mapped, self.tables))

    def _give_back(self, pages: int) -> None:
        """Give back what is mapped of the core's file for what was looked at."""
        if self.mapped is not None:
            self.mapped.give_back()
        elif self.kdumpfile_mappings is not None:
            self.kdumpfile_mappings.passed(pages * self.layout.struct_size)

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
    most = None if core is None else most_sections(target.core or core)
    memory_map = read_memory_map(
        prog, layout, target.vmcoreinfo, changing=changing, most_sections=most
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


def from_program(prog: Program) -> Inspector:
    """Inspector the kernel that a drgn Program looks at; raises PageInspectError.

    The Program may have debug information or none: then it gets the kernel's own BTF.
    """
    return inspect(adopt_program(prog))
