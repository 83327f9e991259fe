# SPDX-License-Identifier: GPL-2.0-only
"""Computes the memory use of each process from page tables, as /proc/PID/smaps_rollup counts it.

Page-table entries come in parts. Two passes are made over them: the first counts the mappings of
each page, the second divides each page among its mappings. This takes five bytes per page of the
machine.

- Rss is mapped memory, without the zero page, memory without struct pages, and hugetlb.
- Pss divides each page by the number of its mappings in all processes. Uss is pages with one
  mapping. Entries that are not present, such as those of pages under migration, count fully for
  Pss and not for Uss.
- Pages with a hardware error are excluded, as in the mm's own counters. Since Linux kernel commit
  07a57a338adb ("mm,swapops: update check in is_pfn_swap_entry for hwpoison entries") (in v6.9),
  smaps includes them.
- Swap is the swap entries in page tables. smaps also includes swapped-out pages of shmem, which
  have no entry in a page table.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ..classify.columns import ramp
from ..classify.selected import SelectedPages
from ..model.arch import PAGE_SHIFT, PAGE_SIZE, PAGEBLOCK_PFNS
from ..model.mappings import Entries, EntryKind, Pfns
from ..model.memory_map import MemoryMap
from ..model.processes import Process

Bytes = npt.NDArray[np.int64]

_PSS_SHIFT = 12
"""Fraction bits of a page's share: PSS_SHIFT of the kernel."""
_HUGE_ORDER = 9
_BLOCKS_AT_ONCE = 1 << 10
"""Blocks of 512 pages that are processed at once."""
_WHOLE = PAGE_SIZE << _PSS_SHIFT


class PageClass:
    """The counter of an mm that a mapped page belongs to; one number per pfn."""

    FILE: Final = 0
    """Every page that is in no other class, including mapped pages of the kernel."""
    ANON: Final = 1
    SHMEM: Final = 2
    HUGETLB: Final = 3
    UNCOUNTED: Final = 4
    """The zero page, the huge zero page, and memory without struct pages."""


_COUNTED = 3
"""Classes below this one count for Rss."""
_CLASS_OF_USE = {
    "anon": PageClass.ANON,
    "hugetlb": PageClass.HUGETLB,
    "ksm": PageClass.ANON,
    "shmem": PageClass.SHMEM,
    "swapcache": PageClass.ANON,
}


@dataclass(frozen=True, slots=True, eq=False)
class Usage:
    """Memory use in bytes: arrays with one entry per mm, (mms,) int64."""

    anon: Bytes
    file: Bytes
    shmem: Bytes
    pss: Bytes
    uss: Bytes
    swap: Bytes
    anon_huge: Bytes
    """Mapped by entries of 2 MiB or more: AnonHugePages of smaps. `file_huge` is FilePmdMapped, and
    `shmem_huge` is ShmemPmdMapped."""
    file_huge: Bytes
    shmem_huge: Bytes
    hugetlb: Bytes
    hwpoison: Bytes

    @property
    def rss(self) -> Bytes:
        """The resident set size, in bytes."""
        return self.anon + self.file + self.shmem

    @property
    def huge(self) -> Bytes:
        """Bytes of rss that are mapped by huge entries."""
        return self.anon_huge + self.file_huge + self.shmem_huge


def usage_of(parts: Iterable[Entries], classes: npt.NDArray[np.uint8], mms: int) -> Usage:
    """Return the memory use of each of `mms` mms.

    `parts` is iterated twice. `classes`, uint8, has the PageClass of each pfn from 0; pfns beyond
    its end are UNCOUNTED, except device memory.
    """
    sums = _Sums(classes, mms)
    for part in parts:
        sums.count(part)
    sums.finish_counting()
    for part in parts:
        sums.share_out(part)
    return sums.usage()


def mapped_by(
    parts: Iterable[Entries], processes: Iterable[Process], pfn: int
) -> list[tuple[int, int]]:
    """Return (pid, virtual address) of each mapping of a page, sorted, with SPECIAL ones."""
    pids: dict[int, list[int]] = {}
    for process in processes:
        if process.mm is not None:
            pids.setdefault(process.mm, []).append(process.pid)
    found: list[tuple[int, int]] = []
    for part in parts:
        inside = (
            (part.pfn <= pfn) & (pfn < part.pfn + part.pages) & (part.kind <= EntryKind.HWPOISON)
        )
        rows = part.where(inside)
        addresses = (rows.vpn + pfn - rows.pfn) << PAGE_SHIFT
        for mm, address in zip(rows.mm.tolist(), addresses.tolist(), strict=True):
            found += [(pid, address) for pid in pids.get(mm, ())]
    return sorted(found)


def page_classes(
    memory_map: MemoryMap, pages: Iterable[SelectedPages], name_of: Callable[[int], str]
) -> npt.NDArray[np.uint8]:
    """Return the PageClass of each pfn from 0, uint8, from the columns or runs of all pages.

    `name_of` returns the name of a value of the column `use`.
    """
    size = max((end for _, end in memory_map.spanned), default=0)
    classes = np.full(size, PageClass.UNCOUNTED, np.uint8)
    for batch in pages:
        uses, at = np.unique(batch.use, return_inverse=True)
        of_use = [_CLASS_OF_USE.get(name_of(int(use)), PageClass.FILE) for use in uses]
        lengths = batch.lengths
        pfns = np.repeat(batch.pfns, lengths) + ramp(lengths)
        classes[pfns] = np.repeat(np.array(of_use, np.uint8)[at], lengths)
    for first, length in ((memory_map.zero_pfn, 1), (memory_map.huge_zero_pfn, PAGEBLOCK_PFNS)):
        if first is not None:
            classes[first : first + length] = PageClass.UNCOUNTED
    return classes


class _Sums:
    def __init__(self, classes: npt.NDArray[np.uint8], mms: int) -> None:
        self._classes = classes
        self._mapped = np.zeros((2, _COUNTED, mms), np.int64)
        """Pages by entry size (small, huge), class and mm."""
        self._others = np.zeros((3, mms), np.int64)
        """Pages by kind (hugetlb, hardware error, swap) and mm."""
        self._shares = np.zeros(mms, np.int64)
        self._once = np.zeros(mms, np.int64)
        self._mappings = np.zeros(len(classes), np.int32)
        self._steps: npt.NDArray[np.int32] | None = None

    def count(self, part: Entries) -> None:
        """First pass: add the pages by class, and count the mappings of each page."""
        classes, mm, pages = self._classes_of(part), part.mm, part.pages
        for other, rows in enumerate(
            (
                classes == PageClass.HUGETLB,
                part.kind == EntryKind.HWPOISON,
                part.kind == EntryKind.SWAP,
            )
        ):
            np.add.at(self._others[other], mm[rows], pages[rows])
        huge = (part.order > 0).astype(np.int64)
        counted = classes < _COUNTED
        at = (huge[counted], classes[counted].astype(np.int64), mm[counted].astype(np.int64))
        flat = np.ravel_multi_index(at, self._mapped.shape)
        np.add.at(self._mapped.reshape(-1), flat, pages[counted])
        self._count_mappings(part, counted & _present(part))

    def _count_mappings(self, part: Entries, rows: npt.NDArray[np.bool_]) -> None:
        inside = rows & (part.pfn < len(self._mappings))
        np.add.at(self._mappings, part.pfn[inside & (part.order == 0)], 1)
        huge = inside & (part.order > 0)
        if not huge.any():
            return
        if self._steps is None:
            self._steps = np.zeros(len(self._mappings) + 1, np.int32)
        first = part.pfn[huge]
        np.add.at(self._steps, first, 1)
        np.add.at(self._steps, np.minimum(first + part.pages[huge], len(self._mappings)), -1)

    def finish_counting(self) -> None:
        """End the first pass."""
        if self._steps is not None:
            self._mappings += np.cumsum(self._steps[:-1], dtype=np.int32)
            self._steps = None

    def share_out(self, part: Entries) -> None:
        """Second pass: add to each mm its share of the pages."""
        counted = self._classes_of(part) < _COUNTED
        present = counted & _present(part)
        absent = counted & ~present
        np.add.at(self._shares, part.mm[absent], part.pages[absent] * _WHOLE)
        small = present & (part.order == 0)
        self._share(part.mm[small], part.pfn[small][:, None])
        for mm, pfns in _blocks(part.where(present & (part.order > 0))):
            self._share(mm, pfns)

    def _share(self, mm: npt.NDArray[np.int32], pfns: Pfns) -> None:
        """Add shares; `pfns` is (rows, pages of each row)."""
        # The mappings of device memory beyond the end are not counted: take one.
        mappings = np.ones(pfns.shape, np.int64)
        inside = pfns < len(self._mappings)
        mappings[inside] = self._mappings[pfns[inside]]
        np.add.at(self._shares, mm, (_WHOLE // mappings).sum(1))
        np.add.at(self._once, mm, (mappings == 1).sum(1))

    def usage(self) -> Usage:
        """Return the sums in bytes."""
        bytes_ = self._mapped * PAGE_SIZE
        file, anon, shmem = bytes_.sum(0)
        hugetlb, hwpoison, swap = self._others * PAGE_SIZE
        return Usage(
            anon=anon,
            file=file,
            shmem=shmem,
            pss=self._shares >> _PSS_SHIFT,
            uss=self._once * PAGE_SIZE,
            swap=swap,
            anon_huge=bytes_[1, PageClass.ANON],
            file_huge=bytes_[1, PageClass.FILE],
            shmem_huge=bytes_[1, PageClass.SHMEM],
            hugetlb=hugetlb,
            hwpoison=hwpoison,
        )

    def _classes_of(self, part: Entries) -> npt.NDArray[np.uint8]:
        """Return the PageClass of each row; UNCOUNTED for entries without a page of the process."""
        classes = np.full(len(part), PageClass.UNCOUNTED, np.uint8)
        paged = (
            (part.kind == EntryKind.MAPPED)
            | (part.kind == EntryKind.MIGRATION)
            | (part.kind == EntryKind.DEVICE_EXCLUSIVE)
        )
        paged &= part.pfn < len(self._classes)
        classes[paged] = self._classes[part.pfn[paged]]
        classes[part.kind == EntryKind.DEVICE_PRIVATE] = PageClass.ANON
        return classes


def _present(part: Entries) -> npt.NDArray[np.bool_]:
    """Return which rows are mappings that the page itself counts."""
    return (part.kind == EntryKind.MAPPED) | (part.kind == EntryKind.DEVICE_PRIVATE)


def _blocks(huge: Entries) -> Iterator[tuple[npt.NDArray[np.int32], Pfns]]:
    """Yield mm and pfns of huge entries, (rows,) and (rows, 512), some blocks at a time."""
    blocks = huge.pages >> _HUGE_ORDER
    ends = np.cumsum(blocks)
    total = int(ends[-1]) if len(ends) else 0
    for start in range(0, total, _BLOCKS_AT_ONCE):
        block = np.arange(start, min(start + _BLOCKS_AT_ONCE, total))
        row = np.searchsorted(ends, block, "right")
        first = huge.pfn[row] + ((block - ends[row] + blocks[row]) << _HUGE_ORDER)
        yield huge.mm[row], first[:, None] + np.arange(1 << _HUGE_ORDER)
