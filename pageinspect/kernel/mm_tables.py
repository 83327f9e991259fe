# SPDX-License-Identifier: GPL-2.0-only
"""Walks the page tables of many mms at once, level by level.

Tables are read by physical address, adjacent ones at once, and decoded as (k, 512) arrays. Only the
upper levels are kept. Entries are yielded in parts, so that memory use does not grow with the
number of mapped pages.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program

from ..host.progress import paced
from ..model import arch
from ..model.arch import LEVELS, PAGE_SHIFT, PAGE_SIZE, TABLE_ENTRIES
from ..model.layout import PageLayout
from ..model.mappings import Entries, EntryKind, Pfns, Tables
from ..target.page_tables import encryption_mask
from ..target.vmcoreinfo import page_table_levels
from .deposited_tables import read_deposited_tables

Words = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

_FIRST = ("pgd", "p4d")
"""Levels that the kernel does not count, and whose entries always refer to tables."""
_DEPOSITED = "deposited"

_MAX_TABLES = 1 << 22
"""Maximum number of references to tables of one level, over all mms: 16 GiB of tables."""
_MOST_SHARED = 60
"""Number of references of one mm to one table. The kernel has more than one only for hugetlb."""
_AT_ONCE = 1024
"""Number of tables that are read at once: 4 MiB."""
_USER = TABLE_ENTRIES // 2
"""Number of PGD entries that map user memory."""

_PRESENT = np.uint64(arch.ENTRY_PRESENT)
_EMPTY = ~np.uint64(arch.ENTRY_ACCESSED | arch.ENTRY_DIRTY)
"""Bits that are clear in an empty entry. An erratum may set the accessed and dirty bits."""
_HUGE = np.uint64(arch.ENTRY_HUGE)
_PROTNONE = np.uint64(arch.ENTRY_PROTNONE)
_SPECIAL = np.uint64(arch.ENTRY_SPECIAL)
_TYPE_SHIFT = np.uint64(arch.SWAP_TYPE_SHIFT)
_TYPE_BITS, _OFFSET_SHIFT = np.uint64(arch.SWAP_TYPE_BITS), np.uint64(arch.SWAP_OFFSET_SHIFT)


class MmTables:
    """The page tables of some mms: the user half, or the kernel half."""

    def __init__(
        self,
        prog: Program,
        vmcoreinfo: Mapping[str, str],
        roots: Sequence[int],
        swap_types: npt.NDArray[np.uint8],
        layout: PageLayout | None = None,
        most_tables: int = _MAX_TABLES,
        *,
        kernel_half: bool = False,
    ) -> None:
        """Read the tables of all levels except the entries of PTE tables.

        `roots` are the pfns of the PGDs; -1 is a PGD that cannot be read. Mms are numbered by their
        index in `roots`. `swap_types` is from read_swap_types(). With `layout`, deposited tables
        are read as well. `most_tables` limits the references to tables of one level. With
        `kernel_half`, the tables of kernel addresses are read instead of those of user addresses.
        """
        self._prog = prog
        self._kinds = swap_types
        self._address = np.uint64(arch.ENTRY_ADDRESS & ~encryption_mask(vmcoreinfo))
        bits = int(vmcoreinfo.get("NUMBER(MAX_PHYSMEM_BITS)", "52"), 0)
        self._pfn_of_swap = np.uint64((1 << (bits - PAGE_SHIFT)) - 1)
        self._mms = len(roots)
        self._other_half = slice(_USER) if kernel_half else slice(_USER, None)
        self._shifts = LEVELS[page_table_levels(vmcoreinfo) or 4]
        self.levels: dict[str, Tables] = {}
        """The tables of each level, sorted by mm and address, and those of "deposited"."""
        self._missing: dict[str, Mask] = {}
        self._cut = np.zeros(self._mms, np.bool_)
        self._read_levels(np.asarray(roots, np.int64), most_tables)
        if layout is not None:
            self.levels[_DEPOSITED], damaged = read_deposited_tables(
                prog, layout, self.levels["pmd"]
            )
            self._cut[damaged] = True

    def _read_levels(self, roots: Pfns, most: int) -> None:
        mms = np.arange(self._mms, dtype=np.int32)
        level = Tables(mms, np.zeros(self._mms, np.int64), roots)
        for name in self._shifts:
            self.levels[name] = level
            self._missing[name] = np.zeros(len(level), np.bool_)
            if name != "pte":
                level = self._below(name, most)

    def _below(self, name: str, most: int) -> Tables:
        """Return the tables of the next level."""
        found: list[Tables] = []
        left = most
        for tables, words in self._chunks(name):
            below = self._tables_in(name, tables, words)
            self._cut[below.mm[left:]] = True
            found.append(below.where(slice(left)))
            left -= len(found[-1])
        columns = ("mm", "vpn", "pfn")
        dtypes = (np.int32, np.int64, np.int64)
        joined = (
            np.concatenate([np.empty(0, dtype), *(getattr(part, column) for part in found)])
            for column, dtype in zip(columns, dtypes, strict=True)
        )
        level = Tables(*joined)
        repeated = _repeated(level)
        self._cut[level.mm[repeated]] = True
        return level.where(~repeated)

    @property
    def whole(self) -> Mask:
        """Which mms have no unreadable table, among tables that parts() has read so far; (mms,)."""
        whole = ~self._cut
        for name, missing in self._missing.items():
            whole[self.levels[name].mm[missing]] = False
        return whole

    @property
    def accounted_bytes(self) -> Pfns:
        """The bytes of page tables of each mm, as in VmPTE; (mms,) int64.

        As in the kernel, tables of the PGD and P4D levels are excluded, and a shared table counts
        for each mm.
        """
        counted = [level.mm for name, level in self.levels.items() if name not in _FIRST]
        return PAGE_SIZE * np.bincount(np.concatenate(counted), minlength=self._mms)

    def table_pfns(self) -> tuple[Pfns, npt.NDArray[np.int32]]:
        """Return the sorted distinct pfns of all tables, and for each an mm that uses it.

        The second page of a PGD (page table isolation) is not included.
        """
        pfns = np.concatenate([level.pfn for level in self.levels.values()])
        mms = np.concatenate([level.mm for level in self.levels.values()])
        known = pfns >= 0
        distinct, first = np.unique(pfns[known], return_index=True)
        return distinct, mms[known][first]

    def parts(self) -> Iterator[Entries]:
        """Yield all leaf entries, those of huge pages first. Each call reads the tables again."""
        for name, shift in self._shifts.items():
            if name in _FIRST:
                continue
            for tables, words in self._chunks(name):
                entries = self._entries(tables, words, shift)
                if len(entries):
                    yield entries

    def __iter__(self) -> Iterator[Entries]:
        return self.parts()

    def _chunks(self, name: str) -> Iterator[tuple[Tables, Words]]:
        """Yield the tables of a level with their words, (k, 512)."""
        level = self.levels[name]
        for start in paced(range(0, len(level), _AT_ONCE)):
            rows = slice(start, start + _AT_ONCE)
            tables = level.where(rows)
            words, missing = self._read(tables.pfn)
            self._missing[name][rows] = missing
            if name == "pgd":
                words[:, self._other_half] = 0
            yield tables, words

    def _read(self, pfns: Pfns) -> tuple[Words, Mask]:
        """Return the words of tables, (k, 512), zeros if unreadable, and which are unreadable."""
        distinct, places = np.unique(pfns, return_inverse=True)
        words = np.zeros((len(distinct), TABLE_ENTRIES), np.uint64)
        missing = np.zeros(len(distinct), np.bool_)
        cuts = np.flatnonzero(np.diff(distinct) != 1) + 1
        starts, ends = [0, *cuts.tolist()], [*cuts.tolist(), len(distinct)]
        for start, end in zip(starts, ends, strict=True):
            self._read_run(int(distinct[start]), words[start:end], missing[start:end])
        return words[places], missing[places]

    def _read_run(self, first: int, words: Words, missing: Mask) -> None:
        """Read tables that are adjacent in memory."""
        try:
            data = self._prog.read(first * PAGE_SIZE, words.nbytes, physical=True)
        except (FaultError, ValueError, OverflowError):
            if len(words) == 1:
                missing[0] = True
                return
            for i in range(len(words)):
                self._read_run(first + i, words[i : i + 1], missing[i : i + 1])
            return
        words[:] = np.frombuffer(data, np.uint64).reshape(words.shape)

    def _tables_in(self, name: str, tables: Tables, words: Words) -> Tables:
        """Return the tables that entries of these tables refer to."""
        flat = words.ravel()
        refers = flat & _PRESENT != 0
        if name not in _FIRST:
            refers &= flat & _HUGE == 0
        at = np.flatnonzero(refers)
        pfns = (flat[at] & self._address) >> np.uint64(PAGE_SHIFT)
        mm, vpn = _places(tables, at, self._shifts[name])
        return Tables(mm, vpn, pfns.astype(np.int64))

    def _entries(self, tables: Tables, words: Words, shift: int) -> Entries:
        """Return the leaf entries of tables; each entry covers 1 << shift bytes."""
        flat = words.ravel()
        at = np.flatnonzero(flat)
        found = flat[at]
        present = found & _PRESENT != 0
        if shift == PAGE_SHIFT:
            leaf = found & (_PRESENT | _PROTNONE) != 0
        else:
            # _HUGE stays set in entries of huge pages that are temporarily not present.
            leaf = (found & _HUGE != 0) | (~present & (found & _PROTNONE != 0))
        kept = leaf | (~present & (found & _EMPTY != 0))
        if not kept.all():
            at, found, present, leaf = at[kept], found[kept], present[kept], leaf[kept]
        mm, vpn = _places(tables, at, shift)
        pfn = self._frames(found, present, shift)
        kind = np.where(found & _SPECIAL != 0, EntryKind.SPECIAL, EntryKind.MAPPED).astype(np.uint8)
        swap_type = np.zeros(len(found), np.uint8)
        absent = np.flatnonzero(~leaf)
        if len(absent):
            swap_type[absent], kind[absent], pfn[absent] = self._swap(found[absent])
        order = np.full(len(found), shift - PAGE_SHIFT, np.uint8)
        return Entries(mm, vpn, pfn, order, kind, swap_type)

    def _frames(self, entries: Words, present: Mask, shift: int) -> Pfns:
        """Return the pfns of leaf entries.

        Since Linux kernel commit 6b28baca9b1f ("x86/speculation/l1tf: Protect PROT_NONE PTEs
        against speculation") (in v4.19), entries that are not present have an inverted address.
        """
        if not present.all():
            entries = np.where(present, entries, ~entries)
        address = self._address & ~np.uint64((1 << shift) - 1)
        return ((entries & address) >> np.uint64(PAGE_SHIFT)).astype(np.int64)

    def _swap(self, entries: Words) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], Pfns]:
        """Return type, kind, and pfn or offset of swap entries.

        Since Linux kernel commit 0d206b5d2e0d ("mm/swap: add swp_offset_pfn() to fetch PFN from
        swap entry") (in v6.1), a pfn is only part of the offset. Before, the other bits are 0.
        """
        types = (entries >> _TYPE_SHIFT).astype(np.uint8)
        kinds = self._kinds[types]
        offsets = (~entries << _TYPE_BITS) >> _OFFSET_SHIFT
        offsets[kinds <= EntryKind.HWPOISON] &= self._pfn_of_swap
        return types, kinds, offsets.astype(np.int64)


def _repeated(level: Tables) -> Mask:
    """Return which references are to a table that the same mm has referred to _MOST_SHARED times.

    In damaged memory a table may refer to itself, so that each level would have 512 times as many.
    """
    order = np.lexsort((level.pfn, level.mm))
    new = np.diff(level.pfn[order], prepend=-1) != 0
    new |= np.diff(level.mm[order], prepend=-1) != 0
    rows = np.arange(len(level))
    first = np.maximum.accumulate(np.where(new, rows, 0))
    repeated = np.zeros(len(level), np.bool_)
    repeated[order[rows - first >= _MOST_SHARED]] = True
    return repeated


def _places(tables: Tables, at: Pfns, shift: int) -> tuple[npt.NDArray[np.int32], Pfns]:
    """Return mm and virtual page number of entries, by their indices in the flattened words."""
    rows = at // TABLE_ENTRIES
    vpn = tables.vpn[rows] + ((at & (TABLE_ENTRIES - 1)) << (shift - PAGE_SHIFT))
    return tables.mm[rows], vpn
