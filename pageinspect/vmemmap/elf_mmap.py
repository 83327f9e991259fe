# SPDX-License-Identifier: GPL-2.0-only
"""Maps the vmemmap of a plain ELF core: numpy views of the file, without a copy.

The kernel's page tables give the physical address of each page of the vmemmap, and the program
headers its place in the file. Ranges that are missing or incomplete in the file are left to
reader.py, which reads through drgn. If the file is truncated while it is mapped, the process gets
SIGBUS: therefore only worker processes use this, whose parent reports their end as an error
(cli/parallel.py, cli/isolation.py).

No library does this: drgn copies the memory that it reads, and numpy.memmap maps a file by its
offsets, not by page tables.
"""

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program

from ..model.arch import PAGE_SIZE
from ..model.layout import PageLayout
from ..target.core_formats.elf import Segment, held_segments, overlap
from ..target.page_tables import PageTables, Places

Words = npt.NDArray[np.uint64]


class MappedVmemmap:
    """The struct pages of one core that its file contains, by pfn."""

    def __init__(
        self,
        prog: Program,
        layout: PageLayout,
        vmcoreinfo: Mapping[str, str],
        file: BinaryIO,
        segments: list[Segment],
    ) -> None:
        self._layout = layout
        ordered = sorted((s.start, s.start + s.size, s.offset) for s in segments)
        self._starts, self._ends, self._offsets = np.array(ordered, np.int64).T
        self._tables = PageTables(prog, vmcoreinfo)
        self._map = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        self._bytes = np.frombuffer(self._map, np.uint8)

    def read(self, first: int, n: int) -> Words | None:
        """Return the words of n struct pages from pfn `first`, (n, sizeof(struct page)/8) uint64.

        None if not all of them are in the file.
        """
        size = self._layout.struct_size
        start = self._layout.vmemmap + first * size
        end = start + n * size
        try:
            pages = self._places(start // PAGE_SIZE, -(-end // PAGE_SIZE))
        except FaultError:
            return None
        if pages is None:
            return None
        inside = start % PAGE_SIZE
        if (np.diff(pages) == PAGE_SIZE).all():
            place = int(pages[0]) + inside
            data = self._bytes[place : place + end - start]
        else:
            data = self._gathered(pages)[inside : inside + end - start]
        if data.ctypes.data % 8:
            data = data.copy()
        return data.view(np.uint64).reshape(n, size // 8)

    def drop_cached_pages(self) -> None:
        """Unmap touched pages: page cache counts as memory of this process while it is mapped."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def _gathered(self, places: Places) -> npt.NDArray[np.uint8]:
        """Return the pages at these file offsets, concatenated."""
        gathered = np.empty((len(places), PAGE_SIZE), np.uint8)
        for rest in np.unique(places % PAGE_SIZE).tolist():
            rows = np.flatnonzero(places % PAGE_SIZE == rest)
            whole = (len(self._bytes) - rest) // PAGE_SIZE
            blocks = self._bytes[rest : rest + whole * PAGE_SIZE].reshape(whole, PAGE_SIZE)
            gathered[rows] = blocks[places[rows] // PAGE_SIZE]
        return gathered.reshape(-1)

    def _places(self, first: int, end: int) -> Places | None:
        """Return the file offsets of virtual pages first to end; None if some are not in it."""
        frames = self._tables.frames(first, end)
        which = np.searchsorted(self._starts, frames, "right") - 1
        if (which < 0).any() or (frames + PAGE_SIZE > self._ends[which]).any():
            return None
        return frames + (self._offsets - self._starts)[which]


def map_vmemmap(
    prog: Program, layout: PageLayout, vmcoreinfo: Mapping[str, str], core: Path
) -> MappedVmemmap | None:
    """Map the struct pages of a core; None if it is not a plain ELF core, or cannot be mapped."""
    if "SYMBOL(swapper_pg_dir)" not in vmcoreinfo:
        return None
    try:
        with core.open("rb") as file:
            segments = held_segments(file)
            if not segments or overlap(segments):
                return None
            return MappedVmemmap(prog, layout, vmcoreinfo, file, segments)
    except OSError:
        return None
