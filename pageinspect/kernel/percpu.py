# SPDX-License-Identifier: GPL-2.0-only
"""Finds the pages of percpu memory.

A chunk has one unit per CPU, at pcpu_unit_offsets, and the same pages are populated in each unit.
The first chunk has three parts: static variables, which have no struct pcpu_chunk, a part reserved
for modules, and dynamic memory. It is in the direct map, or at vmalloc addresses with
percpu_alloc=page. All other chunks are at vmalloc addresses.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Object, Program, Type, offsetof
from drgn.helpers.linux.cpumask import for_each_possible_cpu

from ..model.arch import PAGE_SHIFT
from ..model.kernel_memory import PercpuPages, Pfns, no_pfns
from ..target.page_tables import PageTables
from .structures import ListWalk, add_offset, mapped_pfns, read_variable, require_structure

_MAX_LISTS = 1 << 8
_MAX_CHUNKS = 1 << 16
_MAX_UNIT_PAGES = 1 << 16
_MAX_PAGES = 1 << 26
_MAX_CPUS = 1 << 13


def read_percpu(prog: Program, tables: PageTables) -> PercpuPages:
    """Read the pages of percpu memory; raises MissingStructureError."""
    try:
        with require_structure("percpu chunks"):
            reader = _Reader(prog, prog.type("struct pcpu_chunk"))
            lists = _lists(prog)
            embedded = (
                read_variable(prog, "pcpu_reserved_chunk"),
                read_variable(prog, "pcpu_first_chunk"),
            )
            base, offsets = (
                read_variable(prog, "pcpu_base_addr"),
                read_variable(prog, "pcpu_unit_offsets"),
            )
            populated, units = (
                read_variable(prog, "pcpu_nr_populated"),
                read_variable(prog, "pcpu_nr_units"),
            )
        cpus = [cpu for cpu in for_each_possible_cpu(prog) if cpu < _MAX_CPUS]
        words = np.frombuffer(prog.read(offsets, 8 * (max(cpus, default=0) + 1)), np.uint64)
    except FaultError:
        return PercpuPages(whole=False, unreadable=1)
    reader.units = words[cpus]
    parts = [chunk for chunk in embedded if chunk]
    first = [reader.static(base, parts), *map(reader.populated, parts)]
    walk = ListWalk(prog, _MAX_CHUNKS)
    link = int(offsetof(reader.type_, "list"))
    nodes = (add_offset(node, -link) for head in lists for node in walk.nodes(head))
    others = [reader.populated(chunk) for chunk in nodes if chunk not in parts]
    pfns, unmapped = mapped_pfns(tables, np.concatenate(first))
    of_others, unmapped_others = mapped_pfns(tables, np.concatenate([no_pfns(), *others]))
    return PercpuPages(
        pfns,
        of_others,
        populated,
        units,
        len(cpus),
        reader.whole and walk.whole,
        reader.unreadable + unmapped + unmapped_others,
    )


def _lists(prog: Program) -> list[int]:
    """Return the addresses of the heads of the chunk lists.

    Since Linux kernel commit 3c7be18ac9a0 ("mm: memcg/percpu: account percpu memory to memory
    cgroups") (in v5.9), they are pcpu_chunk_lists instead of pcpu_slot, with a set of lists for
    each type of chunk. Since Linux kernel commit faf65dde844a ("percpu: rework memcg accounting")
    (in v5.14), they are pcpu_chunk_lists, with one set.
    """
    try:
        start = read_variable(prog, "pcpu_chunk_lists")
    except LookupError:
        start = read_variable(prog, "pcpu_slot")
    try:
        types = int(prog.constant("PCPU_NR_CHUNK_TYPES").value_())
    except LookupError:
        types = 1
    number = min(max(read_variable(prog, "pcpu_nr_slots") * types, 0), _MAX_LISTS)
    return [add_offset(start, 16 * i) for i in range(number)]


@dataclass(slots=True)
class _Reader:
    prog: Program
    type_: Type
    units: npt.NDArray[np.uint64] = field(
        default_factory=lambda: np.empty(0, np.uint64), init=False
    )
    """Offset of each CPU's unit from the base of a chunk, (cpus,)."""
    whole: bool = True
    unreadable: int = 0
    _pages: int = 0

    def populated(self, chunk: int) -> Pfns:
        """Return the virtual page numbers of the populated pages of a chunk."""
        try:
            found = Object(self.prog, self.type_, address=chunk)
            base, n = found.base_addr.value_(), found.nr_pages.value_()
            if not 0 <= n <= _MAX_UNIT_PAGES:
                return self._missed()
            data = self.prog.read(found.populated.address_, -(-n // 64) * 8)
        except FaultError:
            return self._missed()
        bits = np.unpackbits(np.frombuffer(data, np.uint8), count=n, bitorder="little")
        return self._of_units(base, np.flatnonzero(bits))

    def static(self, base: int, chunks: list[int]) -> Pfns:
        """Return the virtual page numbers of static variables, which are before `chunks`."""
        try:
            starts = [Object(self.prog, self.type_, address=c).base_addr.value_() for c in chunks]
        except FaultError:
            return self._missed()
        n = (min(starts, default=base) - base) >> PAGE_SHIFT
        if not 0 <= n <= _MAX_UNIT_PAGES:
            return self._missed()
        return self._of_units(base, np.arange(n))

    def _of_units(self, base: int, pages: Pfns) -> Pfns:
        """Return the virtual page numbers of these pages of a unit, for all units."""
        self._pages += len(pages) * len(self.units)
        if self._pages > _MAX_PAGES:
            self.whole = False
            return no_pfns()
        first = (self.units + np.uint64(base)) >> np.uint64(PAGE_SHIFT)
        return (first.astype(np.int64)[:, np.newaxis] + pages).ravel()

    def _missed(self) -> Pfns:
        self.whole = False
        self.unreadable += 1
        return no_pfns()
