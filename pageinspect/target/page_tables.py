# SPDX-License-Identifier: GPL-2.0-only
"""Translates virtual to physical addresses by the kernel's own page tables of 4 or 5 levels.

On a machine with memory encryption one bit of each entry marks the page as encrypted, and is not
part of the address. VMCOREINFO names this bit. Neither drgn's page table reader nor its
follow_phys() removes it.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program

from ..model.arch import (
    ENTRY_ADDRESS,
    ENTRY_HUGE,
    ENTRY_PRESENT,
    IMAGE_START,
    LARGE_PAGE_SIZE,
    LEVELS,
    PAGE_SIZE,
    TABLE_ENTRIES,
)
from .vmcoreinfo import page_table_levels

Table = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

_PER_LEAF = LARGE_PAGE_SIZE // PAGE_SIZE
_MAX_TABLES = 16


def encryption_mask(vmcoreinfo: Mapping[str, str]) -> int:
    """Return the mask of page table entry bits that mark encrypted pages; 0 without encryption."""
    return int(vmcoreinfo.get("NUMBER(sme_mask)", "0"), 0)


class PageTables:
    """The page tables below swapper_pg_dir, or below the table at physical address `root`."""

    def __init__(
        self, prog: Program, vmcoreinfo: Mapping[str, str], root: int | None = None
    ) -> None:
        """Read the location of swapper_pg_dir from VMCOREINFO; raises KeyError if it is missing."""
        self._prog = prog
        self._root, self._root_is_physical = _root(vmcoreinfo) if root is None else (root, True)
        self._levels = page_table_levels(vmcoreinfo) or 4
        self._address = ENTRY_ADDRESS & ~encryption_mask(vmcoreinfo)
        self._tables: dict[int, Table] = {}

    def frames(self, first: int, end: int) -> Places:
        """Return the physical address of each virtual page, (end - first,) int64; -1 if unmapped.

        `first` and `end` (exclusive) are virtual page numbers. Raises FaultError when a table
        cannot be read.
        """
        frames = np.empty(end - first, np.int64)
        for leaf in range(first // _PER_LEAF, -(-end // _PER_LEAF)):
            start = leaf * _PER_LEAF
            low, high = max(first, start), min(end, start + _PER_LEAF)
            frames[low - first : high - first] = self._leaf(leaf, low - start, high - start)
        return frames

    def physical(self, address: int) -> int:
        """Return the physical address of a virtual one; raises FaultError if it is not mapped."""
        (frame,) = self.frames(address // PAGE_SIZE, address // PAGE_SIZE + 1).tolist()
        if frame < 0:
            raise FaultError("address is not mapped", address)
        return int(frame) + address % PAGE_SIZE

    def read(self, address: int, count: int, _offset: int, _physical: bool) -> bytes:  # noqa: FBT001 - drgn's
        """Read virtual memory; a memory reader for drgn. Raises FaultError."""
        first, inside = divmod(address, PAGE_SIZE)
        frames = self.frames(first, -(-(address + count) // PAGE_SIZE))
        absent = np.flatnonzero(frames < 0)
        if len(absent):
            raise FaultError(
                "address is not mapped", max((first + int(absent[0])) * PAGE_SIZE, address)
            )
        # Adjacent virtual pages are mostly adjacent in physical memory, and then read at once.
        cuts = np.flatnonzero(np.diff(frames) != PAGE_SIZE) + 1
        starts = frames[np.concatenate(([0], cuts))].tolist()
        lengths = np.diff(np.concatenate(([0], cuts, [len(frames)]))) * PAGE_SIZE
        lengths[-1] -= len(frames) * PAGE_SIZE - inside - count
        lengths[0] -= inside
        starts[0] += inside
        parts = zip(starts, lengths.tolist(), strict=True)
        return b"".join(self._prog.read(start, length, physical=True) for start, length in parts)

    def _leaf(self, leaf: int, low: int, high: int) -> int | Places:
        """Return frames() of pages low to high of the 2 MiB number `leaf` of virtual memory."""
        entry = self._entry(leaf * LARGE_PAGE_SIZE)
        if not entry & ENTRY_PRESENT:
            return -1
        if entry & ENTRY_HUGE:
            # _entry() has added the offset within a 1 GiB page.
            start = entry & self._address & ~(LARGE_PAGE_SIZE - 1)
            return np.arange(start + low * PAGE_SIZE, start + high * PAGE_SIZE, PAGE_SIZE)
        table = self._table(entry & self._address, physical=True)[low:high]
        frames = (table & np.uint64(self._address)).astype(np.int64)
        frames[table & np.uint64(ENTRY_PRESENT) == 0] = -1
        return frames

    def _entry(self, address: int) -> int:
        """Return the PMD entry for a virtual address; a 1 GiB entry is converted to a PMD entry."""
        table = self._table(self._root, physical=self._root_is_physical)
        for level, shift in LEVELS[self._levels].items():
            entry = int(table[address >> shift & (TABLE_ENTRIES - 1)])
            if level == "pmd" or not entry & ENTRY_PRESENT:
                break
            if entry & ENTRY_HUGE and level == "pud":
                return entry | (address & ((1 << shift) - 1) & ~(LARGE_PAGE_SIZE - 1))
            table = self._table(entry & self._address, physical=True)
        return entry

    def _table(self, address: int, *, physical: bool) -> Table:
        """Return a page table, (512,) uint64. The last few tables are cached."""
        table = self._tables.get(address)
        if table is None:
            if len(self._tables) >= _MAX_TABLES:
                self._tables.clear()
            table = np.frombuffer(self._prog.read(address, PAGE_SIZE, physical=physical), np.uint64)
            self._tables[address] = table
        return table


def _root(vmcoreinfo: Mapping[str, str]) -> tuple[int, bool]:
    """Return the address of swapper_pg_dir, and whether this is a physical address."""
    root = int(vmcoreinfo["SYMBOL(swapper_pg_dir)"], 16)
    base = vmcoreinfo.get("NUMBER(phys_base)")
    if base is None or root < IMAGE_START:
        return root, False
    return root - IMAGE_START + int(base, 0), True
