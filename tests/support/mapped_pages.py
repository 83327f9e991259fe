# SPDX-License-Identifier: GPL-2.0-only
"""A kernel made by hand with processes, their page tables and the struct pages that these map."""

from dataclasses import dataclass, field, replace
from typing import Any

from drgn import FaultError
from page_table_builder import HUGE, PhysicalMemory, swap
from synthetic import HEAD, KERNEL_POINTER, MODERN, Memory, flag
from task_builder import VMEMMAP, Kernel

from pageinspect.inspector.inspector import Inspector
from pageinspect.model.memory_map import MemoryMap
from pageinspect.model.provenance import Provenance
from pageinspect.target.open import Target

LAYOUT = replace(MODERN, vmemmap=VMEMMAP)
CORE = Provenance("7.0", "core", "btf")
PAGES = 0x1000
ENTRY = 0x67
FILE, ANON, SHMEM, HUGE_ANON, UNMAPPED, ZERO = 0x201, 0x202, 0x203, 0x400, 0x204, 0x205
"""pfns of pages: of the last two, one is in no page table, and one is the zero page."""
FOLIO = 0x210
"""A file's folio of four pages."""


@dataclass
class MappedPages:
    """Processes 10, and 20 and 21 which share their address space; 2 is a kernel thread."""

    provenance: Provenance = CORE
    kernel: Kernel = field(default_factory=Kernel)
    tables: PhysicalMemory = field(default_factory=PhysicalMemory)
    comm: bytes = b"first"

    def __post_init__(self) -> None:
        self.first, self.second = self.tables.table(), self.tables.table()
        for address, pfn in enumerate((FILE, ANON, SHMEM, ZERO, FOLIO + 2)):
            self.tables.put(self.first, address << 12, pfn << 12 | ENTRY)
        self.tables.put(self.first, 0x7F0000000000, FOLIO + 2 << 12 | ENTRY)
        self.tables.put(self.first, 0x8000, swap(0, 77))
        self.tables.put(self.first, 0x40000000, HUGE_ANON << 12 | ENTRY | HUGE, 21)
        self.tables.put(self.second, 0x5000, FILE << 12 | ENTRY)
        mms = [self.kernel.mm(root, [0] * 4, [[0] * 4] * 2) for root in (self.first, self.second)]
        self.kernel.tasks(
            self.kernel.task(2, comm=b"kthreadd"),
            self.kernel.task(10, comm=self.comm, mm=mms[0]),
            self.kernel.task(20, comm=b"second", mm=mms[1]),
            self.kernel.task(21, comm=b"vfork", mm=mms[1]),
        )
        self.memory = self._struct_pages()
        prog = self.kernel.prog
        prog.add_memory_segment(0, 1 << 46, self.tables._read, physical=True)
        prog.add_memory_segment(VMEMMAP, self.memory.words.nbytes, self._struct_page)

    def _struct_pages(self) -> Memory:
        memory = Memory(PAGES, LAYOUT, 0)
        for pfn, kind in ((FILE, 0), (ANON, 1), (SHMEM, 0), (UNMAPPED, 0)):
            memory.word(pfn, 0 if pfn != UNMAPPED else 0xFFFFFFFF, 1)
            memory.set(pfn, LAYOUT.mapping, KERNEL_POINTER | kind)
        memory.set(SHMEM, LAYOUT.flags, flag("swapbacked"))
        for pfn, order, kind in ((HUGE_ANON, 9, 1), (FOLIO, 2, 0)):
            memory.compound(pfn, order).word(pfn, 0xFFFFFFFF, 1)
            memory.set(pfn, LAYOUT.mapping, KERNEL_POINTER | kind)
        memory.word(FOLIO + 2, 1)
        memory.set(FOLIO, LAYOUT.index, 0x30)
        assert int(memory.words[FOLIO, 0]) == HEAD
        return memory

    def _struct_page(self, _address: int, count: int, offset: int, _physical: bool) -> bytes:
        data = self.memory.words.tobytes()[offset : offset + count]
        if self.memory.readable is not None and not self.memory.readable.all():
            raise FaultError("not there", VMEMMAP + offset)
        return data

    def inspector(self, **changes: Any) -> Inspector:
        """Return an Inspector of this kernel."""
        target = Target(self.kernel.prog, self.provenance, self.tables.vmcoreinfo)
        memory_map = MemoryMap(((0, PAGES),), (), zero_pfn=ZERO)
        return replace(Inspector(target, LAYOUT, memory_map), **changes)
