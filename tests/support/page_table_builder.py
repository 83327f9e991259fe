# SPDX-License-Identifier: GPL-2.0-only
"""Page tables made by hand, in the physical memory of a drgn Program, and a slow reader of them."""

from collections.abc import Iterator

from drgn import Architecture, FaultError, Platform, Program

PRESENT, HUGE, PROTNONE, SPECIAL = 1, 1 << 7, 1 << 8, 1 << 9
TABLE = 0x67
PFN_MASK = 0x000FFFFFFFFFF000
SHIFTS = {4: (39, 30, 21, 12), 5: (48, 39, 30, 21, 12)}


def swap(kind: int, offset: int) -> int:
    """Return the swap entry of a type and offset, as __swp_entry() of x86_64 puts them together."""
    return (~offset << 14 & (1 << 64) - 1) >> 5 | kind << 59


def prot_none(pfn: int, encrypted: int = 0) -> int:
    """Return the entry of a page that nobody may access: its address is inverted."""
    return ~(pfn << 12) & PFN_MASK & ~encrypted | encrypted | PROTNONE


class PhysicalMemory:
    """Page tables by their pfns, and what is read of them."""

    def __init__(self, levels: int = 4, encrypted: int = 0, first: int = 0x100) -> None:
        self.tables: dict[int, list[int]] = {}
        self.lost: set[int] = set()
        self.reads: list[tuple[int, int]] = []
        self.shifts = SHIFTS[levels]
        self.vmcoreinfo = {
            "NUMBER(pgtable_l5_enabled)": str(int(levels == 5)),
            "NUMBER(sme_mask)": str(encrypted),
            "NUMBER(MAX_PHYSMEM_BITS)": "52" if levels == 5 else "46",
        }
        self._encrypted = encrypted
        self._next = first

    def table(self) -> int:
        """Make an empty table; returns its pfn."""
        pfn = self._next
        self._next += 1
        self.tables[pfn] = [0] * 512
        return pfn

    def put(self, root: int, address: int, entry: int, shift: int = 12) -> list[int]:
        """Set the entry for an address in the level of `shift`; returns the tables on the way.

        Raises ValueError where something else than a table is in the way.
        """
        way = [root]
        for level in self.shifts:
            at = address >> level & 511
            if level == shift:
                self.tables[way[-1]][at] = entry
                break
            if not self.tables[way[-1]][at]:
                self.tables[way[-1]][at] = self.table() << 12 | TABLE | self._encrypted
            if self.tables[way[-1]][at] & (PRESENT | HUGE) != PRESENT:
                raise ValueError("no table is there")
            way.append((self.tables[way[-1]][at] & PFN_MASK & ~self._encrypted) >> 12)
            if way[-1] not in self.tables:
                raise ValueError("no table is there")
        return way

    def program(self) -> Program:
        """Return a Program that reads these tables as physical memory."""
        prog = Program(Platform(Architecture.X86_64))
        prog.add_memory_segment(0, 1 << 46, self._read, physical=True)
        return prog

    def _read(self, address: int, count: int, _offset: int, _physical: bool) -> bytes:
        self.reads.append((address >> 12, count >> 12))
        data = b""
        for pfn in range(address >> 12, (address + count) >> 12):
            if pfn in self.lost or pfn not in self.tables:
                raise FaultError("not there", pfn << 12)
            data += b"".join(word.to_bytes(8, "little") for word in self.tables[pfn])
        return data

    def leaves(self, root: int) -> Iterator[tuple[int, int, int]]:
        """Yield address, shift and word of each leaf entry of the user half, one by one."""
        yield from self._leaves(root, 0, 0)

    def _leaves(self, pfn: int, address: int, level: int) -> Iterator[tuple[int, int, int]]:
        shift = self.shifts[level]
        for at, word in enumerate(self.tables[pfn][: 512 if level else 256]):
            place = address + (at << shift)
            if not word:
                continue
            if shift > 12 and word & PRESENT and not (word & HUGE and shift <= 30):
                below = (word & PFN_MASK & ~self._encrypted) >> 12
                if below in self.tables and below not in self.lost:
                    yield from self._leaves(below, place, level + 1)
            elif shift <= 30:
                yield place, shift, word
