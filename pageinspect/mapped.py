"""The vmemmap of a plain ELF core as numpy views of the file, without a copy.

The kernel's page tables say in which page of memory each page of struct pages lies, and the
program headers where the file has that. What is not wholly in the file, or not found, is left to
the plain way (walk.py), which is always right. Mapping a file that others cut off while it is read
ends this process: only those do it whose end is told as an error, of jobs.py and of guard.py.
"""

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program

from .layout import PageLayout

Words = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

_PAGE = 4096
_TABLE = 512
_MOST_TABLES = 16
_LEAF = 2 << 20
"""Bytes that one entry of a page middle directory maps."""
_PRESENT, _HUGE = 1, 1 << 7
_ADDRESS = 0x000FFFFFFFFFF000
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_CORE, _X86_64, _LOAD, _MANY = 4, 62, 1, 0xFFFF


@dataclass(frozen=True, slots=True)
class Segment:
    """Bytes of memory that the file holds: `size` from the physical address `start`."""

    start: int
    size: int
    offset: int


def read_segments(file: BinaryIO) -> list[Segment]:
    """Return the segments of an ELF core of x86_64, cut to what the file has; [] for others."""
    size = file.seek(0, 2)
    file.seek(0)
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size or header[:6] != b"\x7fELF\x02\x01":
        return []
    _, kind, machine, _, _, offset, _, _, _, entry, count, *_ = _HEADER.unpack(header)
    if (kind, machine) != (_CORE, _X86_64) or entry != _SEGMENT.size or count == _MANY:
        return []
    file.seek(offset)
    table = file.read(entry * count)
    segments = []
    for type_, _, place, _, physical, held, _, _ in _SEGMENT.iter_unpack(
        table[: len(table) // entry * entry]
    ):
        held = min(held, size - place)  # noqa: PLW2901 - cut to the file
        if type_ == _LOAD and held > 0:
            segments.append(Segment(physical, held, place))
    return segments


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
        self._prog = prog
        self._layout = layout
        self._segments = segments
        self._root = int(vmcoreinfo["SYMBOL(swapper_pg_dir)"], 16)
        self._levels = 5 if vmcoreinfo.get("NUMBER(pgtable_l5_enabled)") == "1" else 4
        self._address = np.uint64(_ADDRESS & ~int(vmcoreinfo.get("NUMBER(sme_mask)", "0"), 0))
        self._map = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ)
        self._bytes = np.frombuffer(self._map, np.uint8)
        self._tables: dict[int, Words] = {}

    def read(self, first: int, n: int) -> Words | None:
        """Return the words of n struct pages from the pfn `first`; None: ask the plain way."""
        size = self._layout.struct_size
        start = self._layout.vmemmap + first * size
        end = start + n * size
        try:
            pages = self._places(start // _PAGE, -(-end // _PAGE))
        except FaultError:
            return None
        if pages is None:
            return None
        inside = start % _PAGE
        if (np.diff(pages) == _PAGE).all():
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
        gathered = np.empty((len(places), _PAGE), np.uint8)
        for rest in np.unique(places % _PAGE).tolist():
            rows = np.flatnonzero(places % _PAGE == rest)
            whole = (len(self._bytes) - rest) // _PAGE
            blocks = self._bytes[rest : rest + whole * _PAGE].reshape(whole, _PAGE)
            gathered[rows] = blocks[places[rows] // _PAGE]
        return gathered.reshape(-1)

    def _places(self, first: int, end: int) -> Places | None:
        """Return where the file has each of these pages of virtual memory; None: not all."""
        per_leaf = _LEAF // _PAGE
        frames = np.empty(end - first, np.int64)
        for leaf in range(first // per_leaf, -(-end // per_leaf)):
            low, high = max(first, leaf * per_leaf), min(end, (leaf + 1) * per_leaf)
            found = self._frames(leaf)
            if found is None:
                return None
            frames[low - first : high - first] = found[
                low - leaf * per_leaf : high - leaf * per_leaf
            ]
        places = np.full(len(frames), -1, np.int64)
        for segment in self._segments:
            inside = (frames >= segment.start) & (frames + _PAGE <= segment.start + segment.size)
            inside &= places < 0
            places[inside] = frames[inside] + (segment.offset - segment.start)
            if inside.all():
                return places
        return None if (places < 0).any() else places

    def _frames(self, leaf: int) -> Places | None:
        """Return the physical addresses of the pages of one 2 MiB of virtual memory, or None."""
        entry = self._entry(leaf * _LEAF)
        if not entry & _PRESENT:
            return None
        if entry & _HUGE:
            # Of a leaf one level up, the rest of the address is in the offset.
            start = entry & int(self._address) & ~(_LEAF - 1)
            return np.arange(start, start + _LEAF, _PAGE)
        table = self._table(entry & int(self._address), physical=True)
        if not (table & np.uint64(_PRESENT)).all():
            return None
        return (table & self._address).astype(np.int64)

    def _entry(self, address: int) -> int:
        """Return what maps the 2 MiB at a virtual address, as if by an entry of that size."""
        table = self._table(self._root, physical=False)
        shift = 39 + 9 * (self._levels - 4)
        while True:
            entry = int(table[address >> shift & (_TABLE - 1)])
            if shift == 21 or not entry & _PRESENT:
                return entry
            if entry & _HUGE and shift == 30:
                return entry | (address & ((1 << shift) - 1) & ~(_LEAF - 1))
            table = self._table(entry & int(self._address), physical=True)
            shift -= 9

    def _table(self, address: int, *, physical: bool) -> Words:
        """Return a page table; the last few are kept, and no longer than this object."""
        table = self._tables.get(address)
        if table is None:
            if len(self._tables) >= _MOST_TABLES:
                self._tables.clear()
            table = np.frombuffer(self._prog.read(address, _PAGE, physical), np.uint64)
            self._tables[address] = table
        return table


def map_vmemmap(
    prog: Program, layout: PageLayout, vmcoreinfo: Mapping[str, str], core: Path
) -> MappedVmemmap | None:
    """Map the struct pages of a core; None where it is no plain ELF core that tells how."""
    if "SYMBOL(swapper_pg_dir)" not in vmcoreinfo:
        return None
    try:
        with core.open("rb") as file:
            segments = read_segments(file)
            if not segments:
                return None
            return MappedVmemmap(prog, layout, vmcoreinfo, file, segments)
    except OSError:
        return None
