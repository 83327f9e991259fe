"""The vmemmap of a plain ELF core as numpy views of the file, without a copy.

The kernel's page tables say in which page of memory each page of struct pages lies, and the
program headers where the file has that. What is not wholly in the file, or not found, is left to
the plain way (walk.py), which is always right. Mapping a file that others cut off while it is read
ends this process: only those do it whose end is told as an error, of jobs.py and of guard.py.
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
    """The struct pages of one core, by pfn, where the file has them."""

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
        """Return the words of n struct pages from the pfn `first`; None: ask the plain way."""
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

    def give_back(self) -> None:
        """Give back what was touched: it is the kernel's cache, but counts as this process's."""
        self._map.madvise(mmap.MADV_DONTNEED)

    def _gathered(self, places: Places) -> npt.NDArray[np.uint8]:
        """Return the pages at these places of the file, one after the other."""
        gathered = np.empty((len(places), PAGE_SIZE), np.uint8)
        for rest in np.unique(places % PAGE_SIZE).tolist():
            rows = np.flatnonzero(places % PAGE_SIZE == rest)
            whole = (len(self._bytes) - rest) // PAGE_SIZE
            blocks = self._bytes[rest : rest + whole * PAGE_SIZE].reshape(whole, PAGE_SIZE)
            gathered[rows] = blocks[places[rows] // PAGE_SIZE]
        return gathered.reshape(-1)

    def _places(self, first: int, end: int) -> Places | None:
        """Return where the file has each of these pages of virtual memory; None: not all."""
        frames = self._tables.frames(first, end)
        which = np.searchsorted(self._starts, frames, "right") - 1
        if (which < 0).any() or (frames + PAGE_SIZE > self._ends[which]).any():
            return None
        return frames + (self._offsets - self._starts)[which]


def map_vmemmap(
    prog: Program, layout: PageLayout, vmcoreinfo: Mapping[str, str], core: Path
) -> MappedVmemmap | None:
    """Map the struct pages of a core; None where it is no plain ELF core that tells how."""
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
