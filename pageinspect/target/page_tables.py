"""The kernel's own page tables, of 4 or 5 levels: where virtual memory lies in physical memory.

On a machine that encrypts memory a bit of each entry says that the page is encrypted: it is no part
of the address. VMCOREINFO names it, and neither drgn's reader of page tables nor its
follow_phys() takes it off.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program

from ..model.arch import LARGE_PAGE_SIZE, PAGE_SIZE, TABLE_ENTRIES
from .vmcoreinfo import page_table_levels

Table = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]

_PER_LEAF = LARGE_PAGE_SIZE // PAGE_SIZE
_MOST_TABLES = 16
_PRESENT, _HUGE = 1, 1 << 7
_ADDRESS = 0x000FFFFFFFFFF000
_IMAGE = 0xFFFFFFFF80000000
"""Where the kernel's image is mapped, its first byte at phys_base."""


def encryption_mask(vmcoreinfo: Mapping[str, str]) -> int:
    """Return the bits of page table entries that say that a page is encrypted, 0 for none."""
    return int(vmcoreinfo.get("NUMBER(sme_mask)", "0"), 0)


class PageTables:
    """The page tables that swapper_pg_dir is the root of, or those at a physical address `root`."""

    def __init__(
        self, prog: Program, vmcoreinfo: Mapping[str, str], root: int | None = None
    ) -> None:
        """Take where they are from VMCOREINFO; raises KeyError where it does not say."""
        self._prog = prog
        self._root, self._root_is_physical = _root(vmcoreinfo) if root is None else (root, True)
        self._levels = page_table_levels(vmcoreinfo) or 4
        self._address = _ADDRESS & ~encryption_mask(vmcoreinfo)
        self._tables: dict[int, Table] = {}

    def frames(self, first: int, end: int) -> Places:
        """Return the physical addresses of pages of virtual memory, -1 for what is not mapped.

        Pages are numbered by their address; `end` is exclusive. Raises FaultError when a table
        cannot be read.
        """
        frames = np.empty(end - first, np.int64)
        for leaf in range(first // _PER_LEAF, -(-end // _PER_LEAF)):
            start = leaf * _PER_LEAF
            low, high = max(first, start), min(end, start + _PER_LEAF)
            frames[low - first : high - first] = self._leaf(leaf, low - start, high - start)
        return frames

    def physical(self, address: int) -> int:
        """Return the physical address of a virtual one; raises FaultError where there is none."""
        (frame,) = self.frames(address // PAGE_SIZE, address // PAGE_SIZE + 1).tolist()
        if frame < 0:
            raise FaultError("address is not mapped", address)
        return int(frame) + address % PAGE_SIZE

    def read(self, address: int, count: int, _offset: int, _physical: bool) -> bytes:  # noqa: FBT001 - drgn's
        """Return bytes of virtual memory, as a memory reader of drgn. Raises FaultError."""
        first, inside = divmod(address, PAGE_SIZE)
        frames = self.frames(first, -(-(address + count) // PAGE_SIZE))
        absent = np.flatnonzero(frames < 0)
        if len(absent):
            raise FaultError(
                "address is not mapped", max((first + int(absent[0])) * PAGE_SIZE, address)
            )
        # What follows in virtual memory mostly follows in physical memory too.
        cuts = np.flatnonzero(np.diff(frames) != PAGE_SIZE) + 1
        starts = frames[np.concatenate(([0], cuts))].tolist()
        lengths = np.diff(np.concatenate(([0], cuts, [len(frames)]))) * PAGE_SIZE
        lengths[-1] -= len(frames) * PAGE_SIZE - inside - count
        lengths[0] -= inside
        starts[0] += inside
        parts = zip(starts, lengths.tolist(), strict=True)
        return b"".join(self._prog.read(start, length, physical=True) for start, length in parts)

    def _leaf(self, leaf: int, low: int, high: int) -> int | Places:
        """Return frames() of the pages from low to high of 2 MiB of virtual memory."""
        entry = self._entry(leaf * LARGE_PAGE_SIZE)
        if not entry & _PRESENT:
            return -1
        if entry & _HUGE:
            # Of a leaf one level up, the rest of the address is in the offset.
            start = entry & self._address & ~(LARGE_PAGE_SIZE - 1)
            return np.arange(start + low * PAGE_SIZE, start + high * PAGE_SIZE, PAGE_SIZE)
        table = self._table(entry & self._address, physical=True)[low:high]
        frames = (table & np.uint64(self._address)).astype(np.int64)
        frames[table & np.uint64(_PRESENT) == 0] = -1
        return frames

    def _entry(self, address: int) -> int:
        """Return what maps the 2 MiB at a virtual address, as if by an entry of that size."""
        table = self._table(self._root, physical=self._root_is_physical)
        shift = 39 + 9 * (self._levels - 4)
        while True:
            entry = int(table[address >> shift & (TABLE_ENTRIES - 1)])
            if shift == 21 or not entry & _PRESENT:
                return entry
            if entry & _HUGE and shift == 30:
                return entry | (address & ((1 << shift) - 1) & ~(LARGE_PAGE_SIZE - 1))
            table = self._table(entry & self._address, physical=True)
            shift -= 9

    def _table(self, address: int, *, physical: bool) -> Table:
        """Return a page table; the last few are kept, and no longer than this object."""
        table = self._tables.get(address)
        if table is None:
            if len(self._tables) >= _MOST_TABLES:
                self._tables.clear()
            table = np.frombuffer(self._prog.read(address, PAGE_SIZE, physical=physical), np.uint64)
            self._tables[address] = table
        return table


def _root(vmcoreinfo: Mapping[str, str]) -> tuple[int, bool]:
    """Return the address of swapper_pg_dir, and whether it is the physical one."""
    root = int(vmcoreinfo["SYMBOL(swapper_pg_dir)"], 16)
    base = vmcoreinfo.get("NUMBER(phys_base)")
    if base is None or root < _IMAGE:
        return root, False
    return root - _IMAGE + int(base, 0), True
