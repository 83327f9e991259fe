# SPDX-License-Identifier: GPL-2.0-only
"""A kernel made by hand whose pages have owners: files, slab caches, and what structures claim."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from file_builder import TMPFS_MAGIC, Files
from kernel_by_hand import Kernel
from synthetic import MODERN, VMEMMAP, Memory, flag

from pageinspect.inspector.inspector import Inspector
from pageinspect.model.kernel_memory import VM_ALLOC, Modules, VmapArea, VmapAreas
from pageinspect.model.layout import PageLayout
from pageinspect.model.memory_map import MemoryMap
from pageinspect.model.owner_memory import PageTablePages
from pageinspect.model.processes import Stack, Tasks
from pageinspect.model.provenance import Provenance
from pageinspect.owners.structures import Structures
from pageinspect.target.open import Target

CORE = Provenance("7.0", "core", "btf")
PAGES = 0x400
NO_TYPE = 0xFFFFFFFF
SLAB, TABLE = 0xF5000000, 0xF2000000
FREE = 0x200
"""pfn of a free block of FREE_PAGES pages."""
FREE_PAGES = 0x200
MEMCGS = {0xFFFF888000000040: "/a", 0xFFFF888000000080: "/b"}
"""Paths of cgroups by the word of struct page."""
_VMALLOC = 0xFFFFC90000000000


class CgroupNames:
    """Names the cgroups of MEMCGS, in place of MemoryCgroupNames."""

    unreadable = 0

    def __init__(self, _prog: Any) -> None:
        pass

    def names(self, words: list[int]) -> list[str]:
        return [MEMCGS[word] for word in words]


@dataclass
class OwnedPages:
    """Pages are given to owners one after the other; those that nobody took are unknown."""

    provenance: Provenance = CORE
    layout: PageLayout = MODERN
    kernel: Kernel = field(default_factory=Kernel)
    problems: tuple[str, ...] = ()
    """What read_structures() says of the structures."""

    def __post_init__(self) -> None:
        k, self.files = self.kernel, Files(self.kernel)
        self._cache_type = k.struct("kmem_cache", flags=k.ulong, name=k.void_p)
        k.struct("slab", flags=k.ulong, slab_cache=k.void_p)
        self.memory = Memory(PAGES, self.layout, 0).free_block(FREE, 9)
        self.disk = self._mounted("ext4", "vda", 0xEF53)
        self.tmpfs = self._mounted("tmpfs", "tmpfs", TMPFS_MAGIC)
        self.structures = Structures(
            vmap=VmapAreas(),
            modules=Modules(),
            tasks=Tasks((), (), (), (), 0),
            tables=PageTablePages(),
        )
        self._next = 0x10
        k.prog.add_memory_segment(VMEMMAP, self.memory.words.nbytes, self._struct_page)

    def _mounted(self, kind: str, device: str, magic: int) -> int:
        sb = self.files.file_system(kind, device, magic)
        self.files.mount(sb, self.files.root(sb))
        return sb

    def _struct_page(self, _address: int, count: int, offset: int, _physical: bool) -> bytes:
        return self.memory.words.tobytes()[offset : offset + count]

    def _take(self, n: int, word: int = NO_TYPE) -> range:
        pfns = range(self._next, self._next + n)
        self._next += n
        for pfn in pfns:
            self.memory.word(pfn, word, 1)
        return pfns

    def file(self, name: str, pages: int, *, shmem: bool = False, memcg: int = 0) -> range:
        """Return the pfns of a file with this name in the root of a file system."""
        sb = self.tmpfs if shmem else self.disk
        mapping = self.files.file(sb, 100 + self._next)
        self.files.name(mapping, name, self.files.root(sb))
        pfns = self._take(pages)
        for pfn in pfns:
            self.memory.set(pfn, MODERN.mapping, mapping)
            self.memory.set(pfn, MODERN.memcg, memcg)
            self.memory.set(pfn, MODERN.flags, flag("swapbacked") if shmem else 0)
        return pfns

    def slab(self, name: str, pages: int, *, order: int = 0) -> range:
        """Return the pfns of slabs of one page each, or of one slab of this order."""
        cache = self.kernel.make(self._cache_type, name=self.kernel.text(name))
        if order:
            self._next = -(-self._next >> order) << order
            head = self._next
            self.memory.compound(head, order).word(head, SLAB, 1)
            self.memory.set(head, MODERN.slab_cache, cache)
            self._next += 1 << order
            return range(head, self._next)
        pfns = self._take(pages, SLAB)
        for pfn in pfns:
            self.memory.set(pfn, MODERN.slab_cache, cache)
        return pfns

    def area(self, caller: str, pages: int) -> VmapArea:
        """Add a vmalloc area that this function allocated."""
        known, areas = self.structures.callers, self.structures.vmap
        assert areas is not None
        address = next((a for a, name in known.items() if name == caller), 0x100 + len(known))
        start = _VMALLOC + (self._next << 12)
        pfns = np.array(self._take(pages))
        area = VmapArea(start, start + (pages + 1 << 12), VM_ALLOC, address, start, pfns)
        self.structures = replace(
            self.structures,
            vmap=VmapAreas((*areas.areas, area)),
            callers={**known, address: caller},
        )
        return area

    def stack(self, comm: str, tid: int) -> VmapArea:
        area = self.area("kernel_clone", 4)
        tasks = self.structures.tasks
        assert tasks is not None
        stack = Stack(tid, tid, comm, None, area.vm, area.pages)
        tasks = replace(tasks, stacks=(*tasks.stacks, stack))
        self.structures = replace(self.structures, tasks=tasks)
        return area

    def tables(self, name: str, pages: int) -> range:
        """Add page tables of a process; of no process if the name is empty."""
        pfns = self._take(pages, TABLE)
        tables = self.structures.tables
        assert tables is not None
        if name:
            tables = replace(tables, processes=(*tables.processes, (name, np.array(pfns))))
        self.structures = replace(self.structures, tables=tables)
        return pfns

    def read_structures(self, _inspector: Any, _fields: Sequence[str]) -> Any:
        """Return what the function of this name does."""
        return self.structures, self.problems

    def inspector(self) -> Inspector:
        target = Target(self.kernel.prog, self.provenance, {})
        return Inspector(target, self.layout, MemoryMap(((0, PAGES),), ()))


def filled() -> OwnedPages:
    """Return a kernel with owners of several kinds."""
    kernel = OwnedPages()
    kernel.file("big", 20)
    kernel.file("small", 2, memcg=next(iter(MEMCGS)))
    kernel.file("in memory", 5, shmem=True)
    kernel.slab("dentry", 7)
    kernel.slab("inode", 3)
    kernel.area("alloc_large_system_hash", 6)
    kernel.area("nf_tables:nft_chain_add", 2)
    kernel.stack("bash", 812)
    kernel.stack("a:b*c[x]", 7)
    kernel.tables("bash[812]", 3)
    kernel.tables("", 1)
    return kernel
