# SPDX-License-Identifier: GPL-2.0-only
"""A kernel made by hand whose blocks of 64 pages are free, movable, reclaimable and unmovable."""

from dataclasses import replace

import numpy as np
import pytest
from drgn import offsetof
from owned_pages import PAGES, OwnedPages
from synthetic import MODERN, flag

from pageinspect.inspector import owner_finder, sweep
from pageinspect.inspector.inspector import Inspector
from pageinspect.model.memory_map import MemoryMap, Zone
from pageinspect.model.pageblocks import UNKNOWN, BatchReferences, Pageblocks

ORDER = 6
NAMES = ("unmovable", "movable", "reclaimable", "cma", "isolate")
PINNED, READ = 0xC8, 0xD0
"""Pages of the file c that a driver has pinned, and that is in a batch."""
RECLAIM_ACCOUNT = 1 << 17


class BlockedPages(OwnedPages):
    """Pages in blocks of 64:

    0: a file, and what nothing leads to   1: the file b      2: dentries
    3: the file c, of which a page is pinned, and one in a batch
    4: vmalloc memory, and the file d      5: page tables     6: half reserved, half a slab
    7: dentries, inodes, page tables and a file               8-15: free
    """

    def __init__(self) -> None:
        super().__init__()
        self.file("a", 0x30)
        self.file("b", 0x40)
        self.slab("dentry", 0x40)
        self.file("c", 0x40)
        self.area("nft_chain_add", 4)
        self.file("d", 0x3C)
        self.tables("bash[812]", 0x40)
        reserved = self.tables("", 0x20)
        self.memory.words[reserved.start : reserved.stop, 0] = flag("reserved")
        for pfn in reserved:
            self.memory.word(pfn, 0xFFFFFFFF, 1)
        self.slab("inode", 0x20)
        for name, n in (("dentry", 8), ("inode", 8)):
            self.slab(name, n)
        self.tables("bash[812]", 0x10)
        self.file("e", 0x20)
        assert self._next == 0x200
        self.memory.word(PINNED, 0xFFFFFFFF, 1 + 1024).word(READ, 0xFFFFFFFF, 2)
        self.pageblocks: Pageblocks | None = Pageblocks(
            9, NAMES, np.array([0]), np.array([[1, 0, *[UNKNOWN] * 62]], np.uint8)
        )
        self.zones = (Zone(0, "DMA32", 0, PAGES, 0),)
        self.spanned: tuple[tuple[int, int], ...] = ((0, PAGES),)
        self.batches = BatchReferences(np.array([READ]), np.array([1]))

    def file(self, name: str, pages: int, *, shmem: bool = False, memcg: int = 0) -> range:
        """Return the pfns of a file, on an LRU list."""
        pfns = super().file(name, pages, shmem=shmem, memcg=memcg)
        self.memory.words[pfns.start : pfns.stop, 0] |= np.uint64(flag("lru"))
        return pfns

    def slab(self, name: str, pages: int, *, order: int = 0) -> range:
        """Return the pfns of slabs; shrinkers can free dentries."""
        pfns = super().slab(name, pages, order=order)
        cache = int(self.memory.words[pfns.start, MODERN.slab_cache // 8])
        at = cache + offsetof(self._cache_type, "flags")
        self.kernel.write(at, (RECLAIM_ACCOUNT if name == "dentry" else 0).to_bytes(8, "little"))
        return pfns

    def inspector(self) -> Inspector:
        """Return an Inspector of these zones, of which `spanned` has struct pages."""
        names = tuple(zone.name for zone in self.zones)
        memory_map = MemoryMap(self.spanned, self.zones, names)
        return replace(super().inspector(), memory_map=memory_map)

    def install(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Let the commands read this kernel's structures."""
        monkeypatch.setattr(owner_finder, "read_structures", self.read_structures)
        monkeypatch.setattr(sweep, "read_pageblocks", lambda _: self.pageblocks)
        monkeypatch.setattr(sweep, "read_batch_references", lambda *_: self.batches)
