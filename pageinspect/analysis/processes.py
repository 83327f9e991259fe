# SPDX-License-Identifier: GPL-2.0-only
"""Computes the memory use of each process from page tables, as /proc/PID/smaps_rollup counts it.

Page-table entries come in parts. Two passes are made over them: the first counts the mappings of
each page, the second adds each page to its class and divides it among its mappings. Only the struct
pages of sections with mapped pages are needed between the passes. This takes five bytes per page of
these sections.

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

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ..classify import Pages
from ..classify.columns import ramp
from ..classify.uses import USE
from ..model.arch import PAGE_SHIFT, PAGE_SIZE, PAGEBLOCK_PFNS, SECTION_PFNS
from ..model.mappings import Entries, EntryKind, Pfns
from ..model.memory_map import MemoryMap
from ..model.processes import Process
from ..model.ranges import Range, count, intersect, merge

Bytes = npt.NDArray[np.int64]

_PSS_SHIFT = 12
"""Fraction bits of a page's share: PSS_SHIFT of the kernel."""
_HUGE_ORDER = 9
_BLOCKS_AT_ONCE = 1 << 10
"""Blocks of 512 pages that are processed at once."""
_WHOLE = PAGE_SIZE << _PSS_SHIFT


class PageClass:
    """The counter of an mm that a mapped page belongs to; one number per pfn."""

    UNCOUNTED: Final = 0
    """The zero page, the huge zero page, and memory without struct pages."""
    FILE: Final = 1
    """Every page that is in no other class, including mapped pages of the kernel."""
    ANON: Final = 2
    SHMEM: Final = 3
    HUGETLB: Final = 4


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


@dataclass(frozen=True, slots=True, eq=False)
class ClassRuns:
    """Runs of pages of one PageClass, and the number of unreadable struct pages among them."""

    pfns: Pfns
    lengths: Pfns
    classes: npt.NDArray[np.uint8]
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class MappedAt:
    """One mapping of a page."""

    pid: int
    comm: str
    """Untrusted text."""
    address: int


@dataclass(frozen=True, slots=True)
class Mappings:
    """The mappings of one page."""

    count: int
    first: tuple[MappedAt, ...]
    """Some of them, by pid and address: the first of each process, then the second of each …"""


def usage_of(parts: Iterable[Entries], classes: npt.NDArray[np.uint8], mms: int) -> Usage:
    """Return the memory use of each of `mms` mms.

    `parts` is iterated twice. `classes`, uint8, has the PageClass of each pfn from 0; pfns beyond
    its end are UNCOUNTED, except device memory.
    """
    sums = UsageSums(len(classes), mms)
    for part in parts:
        sums.count(part)
    return sums.usage(parts, classes)


def mapped_by(
    parts: Iterable[Entries], processes: Iterable[Process], pfns: Iterable[int], most: int
) -> dict[int, Mappings]:
    """Return the Mappings of each of these pages, at most `most` of each, with SPECIAL ones.

    Every process that uses an mm counts.
    """
    users: dict[int, list[Process]] = {}
    for process in sorted(processes, key=lambda process: process.pid):
        if process.mm is not None:
            users.setdefault(process.mm, []).append(process)
    wanted = np.unique(np.fromiter(pfns, np.int64))
    found = [_rows_with(part, wanted) for part in parts]
    page, mm, address = (
        np.concatenate([np.empty(0, np.int64), *column])
        for column in (zip(*found, strict=True) if found else ((), (), ()))
    )
    return {
        pfn: _mappings(users, mm[page == pfn], address[page == pfn], most)
        for pfn in wanted.tolist()
    }


def _rows_with(part: Entries, wanted: Pfns) -> tuple[Pfns, Pfns, Pfns]:
    """Return pfn, mm and virtual address of each mapping of the wanted pages, which are sorted."""
    first = np.searchsorted(wanted, part.pfn)
    number = np.searchsorted(wanted, part.pfn + part.pages) - first
    number[part.kind > EntryKind.HWPOISON] = 0
    rows = np.flatnonzero(number)
    pages = wanted[np.repeat(first[rows], number[rows]) + ramp(number[rows])]
    rows = np.repeat(rows, number[rows])
    addresses = (part.vpn[rows] + pages - part.pfn[rows]) << PAGE_SHIFT
    return pages, part.mm[rows].astype(np.int64), addresses


def _mappings(
    users: Mapping[int, Sequence[Process]], mms: Pfns, addresses: Pfns, most: int
) -> Mappings:
    """Return the Mappings of one page, which is mapped at these addresses."""
    distinct, counts = np.unique(mms, return_counts=True)
    of_mm = {mm: users[mm] for mm in distinct.tolist() if mm in users}
    total = sum(
        len(of_mm.get(mm, ())) * n for mm, n in zip(distinct.tolist(), counts.tolist(), strict=True)
    )
    # Mappings of mms with higher pids are not among the first.
    lowest = sorted(of_mm, key=lambda mm: of_mm[mm][0].pid)[:most]
    places = [
        (nth, process.pid, process.comm, address)
        for mm in lowest
        for nth, address in enumerate(np.sort(addresses[mms == mm])[:most].tolist())
        for process in of_mm[mm][:most]
    ]
    first = (MappedAt(*place) for _, *place in sorted(places)[:most])
    return Mappings(total, tuple(sorted(first, key=lambda at: (at.pid, at.address))))


def class_runs(batches: Iterable[Pages], name_of: Callable[[int], str]) -> ClassRuns:
    """Return the runs of pages of one PageClass other than FILE, from columns or runs of pages.

    `name_of` returns the name of a value of the column `use`.
    """
    runs = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.uint8))]
    unreadable = 0
    for batch in batches:
        classes = _classes_of_uses(batch.use, name_of)
        rows = np.flatnonzero(classes != PageClass.FILE)
        runs.append((batch.pfns[rows], batch.lengths[rows], classes[rows]))
        unreadable += batch.unreadable
    pfns, lengths, of_runs = map(np.concatenate, zip(*runs, strict=True))
    return ClassRuns(pfns, lengths, of_runs, unreadable)


def _classes_of_uses(
    uses: npt.NDArray[np.uint16], name_of: Callable[[int], str]
) -> npt.NDArray[np.uint8]:
    known, at = np.unique(uses, return_inverse=True)
    of_use = [_CLASS_OF_USE.get(name_of(int(use)), PageClass.FILE) for use in known]
    return np.array(of_use, np.uint8)[at]


def page_classes(
    memory_map: MemoryMap, read: Iterable[Range], parts: Iterable[ClassRuns]
) -> npt.NDArray[np.uint8]:
    """Return the PageClass of each pfn from 0, uint8, from the runs of the pfns `read`.

    It is FILE for those in none of the runs, and UNCOUNTED for all other pfns.
    """
    classes = np.zeros(pfns_of(memory_map), np.uint8)
    for start, end in read:
        classes[start:end] = PageClass.FILE
    for part in parts:
        pfns = np.repeat(part.pfns, part.lengths) + ramp(part.lengths)
        classes[pfns] = np.repeat(part.classes, part.lengths)
    return _without_zeros(memory_map, classes)


def _without_zeros(memory_map: MemoryMap, classes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    for first, length in ((memory_map.zero_pfn, 1), (memory_map.huge_zero_pfn, PAGEBLOCK_PFNS)):
        if first is not None:
            classes[first : first + length] = PageClass.UNCOUNTED
    return classes


@dataclass(frozen=True, slots=True, eq=False)
class UseRuns:
    """Runs of pages of one use, of all memory: sorted and disjoint."""

    starts: Pfns
    lengths: Pfns
    uses: npt.NDArray[np.uint16]

    def classes(
        self, memory_map: MemoryMap, name_of: Callable[[int], str]
    ) -> npt.NDArray[np.uint8]:
        """Return what page_classes() returns for these runs."""
        n = pfns_of(memory_map)
        before = np.diff(self.starts, prepend=0)
        before[1:] -= self.lengths[:-1]
        lengths = np.stack((before, self.lengths), axis=1).reshape(-1)
        classes = np.full(len(lengths), PageClass.UNCOUNTED, np.uint8)
        classes[1::2] = _classes_of_uses(self.uses, name_of)
        found = np.repeat(classes, lengths)[:n]
        found = np.append(found, np.full(n - len(found), PageClass.UNCOUNTED, np.uint8))
        return _without_zeros(memory_map, found)

    def unreadable(self, wanted: Sequence[Range]) -> int:
        """Return how many of the wanted pages have a struct page that could not be read."""
        rows = self.uses == USE["unreadable"]
        starts, ends = self.starts[rows], self.starts[rows] + self.lengths[rows]
        return count(intersect(list(zip(starts.tolist(), ends.tolist(), strict=True)), wanted))


def pfns_of(memory_map: MemoryMap) -> int:
    """Return one more than the last pfn with a struct page."""
    return max((end for _, end in memory_map.spanned), default=0)


class UsageSums:
    """The sums of usage_of(), for a caller that finds out the classes after the first pass."""

    def __init__(self, pfns: int, mms: int) -> None:
        """Prepare for pages with pfns below `pfns`, and for `mms` mms."""
        self._mapped = np.zeros((2, PageClass.HUGETLB, mms), np.int64)
        """Pages by entry size (small, huge), class and mm."""
        self._others = np.zeros((3, mms), np.int64)
        """Pages by kind (hugetlb, hardware error, swap) and mm."""
        self._shares = np.zeros(mms, np.int64)
        self._once = np.zeros(mms, np.int64)
        # Memory of zeros is allocated by the host when it is first written to.
        self._mappings = np.zeros(pfns, np.int32)
        """Mappings by small entries, of each page."""
        self._huge_mappings = np.zeros((pfns >> _HUGE_ORDER) + 1, np.int32)
        """Mappings by huge entries, of each 512 pages."""
        self._sections = np.zeros(-(-pfns // SECTION_PFNS), np.bool_)

    def count(self, part: Entries) -> None:
        """First pass: count the mappings of each page."""
        paged = (part.kind < EntryKind.HWPOISON) & (part.kind != EntryKind.SPECIAL)
        paged &= part.pfn < len(self._mappings)
        self._mark_sections(part.pfn[paged], part.pages[paged])
        present = paged & _present(part)
        np.add.at(self._mappings, part.pfn[present & (part.order == 0)], 1)
        for _, first in _blocks(part.where(present & (part.order > 0))):
            block = first >> _HUGE_ORDER
            np.add.at(self._huge_mappings, block[block < len(self._huge_mappings)], 1)

    def _mark_sections(self, pfns: Pfns, pages: Pfns) -> None:
        """Note the memory sections of some entries; an entry may cover several sections."""
        for start in range(0, int(pages.max(initial=0)), SECTION_PFNS):
            section = (pfns[pages > start] + start) // SECTION_PFNS
            self._sections[np.minimum(section, len(self._sections) - 1)] = True

    def sections(self) -> list[Range]:
        """Return the pfns of the memory sections with mapped pages, after the first pass."""
        starts = np.flatnonzero(self._sections) * SECTION_PFNS
        return merge((start, start + SECTION_PFNS) for start in starts.tolist())

    def usage(self, parts: Iterable[Entries], classes: npt.NDArray[np.uint8]) -> Usage:
        """Return the memory use of each mm, by a second pass over the same parts.

        `classes`, uint8, has the PageClass of each pfn; it matters for pfns of sections() alone.
        """
        for part in parts:
            of_rows = _classes_of(part, classes)
            self._add(part, of_rows)
            self._share_out(part, _counted(of_rows))
        return self._usage()

    def _add(self, part: Entries, classes: npt.NDArray[np.uint8]) -> None:
        """Add the pages to their mms, by class."""
        mm, pages = part.mm, part.pages
        for other, rows in enumerate(
            (
                classes == PageClass.HUGETLB,
                part.kind == EntryKind.HWPOISON,
                part.kind == EntryKind.SWAP,
            )
        ):
            np.add.at(self._others[other], mm[rows], pages[rows])
        huge = (part.order > 0).astype(np.int64)
        counted = _counted(classes)
        at = (huge[counted], classes[counted].astype(np.int64), mm[counted].astype(np.int64))
        flat = np.ravel_multi_index(at, self._mapped.shape)
        np.add.at(self._mapped.reshape(-1), flat, pages[counted])

    def _share_out(self, part: Entries, counted: npt.NDArray[np.bool_]) -> None:
        """Add to each mm its share of the counted rows."""
        present = counted & _present(part)
        absent = counted & ~present
        np.add.at(self._shares, part.mm[absent], part.pages[absent] * _WHOLE)
        small = present & (part.order == 0)
        self._share(part.mm[small], part.pfn[small][:, None])
        for mm, first in _blocks(part.where(present & (part.order > 0))):
            self._share(mm, first[:, None] + np.arange(1 << _HUGE_ORDER))

    def _share(self, mm: npt.NDArray[np.int32], pfns: Pfns) -> None:
        """Add shares; `pfns` is (rows, pages of each row)."""
        # Mappings of device memory beyond the end, and those made since the first pass, are not
        # counted: take one.
        mappings = np.ones(pfns.shape, np.int64)
        inside = pfns < len(self._mappings)
        known = pfns[inside]
        by_small, by_huge = self._mappings[known], self._huge_mappings[known >> _HUGE_ORDER]
        mappings[inside] = np.maximum(by_small + by_huge, 1)
        np.add.at(self._shares, mm, (_WHOLE // mappings).sum(1))
        np.add.at(self._once, mm, (mappings == 1).sum(1))

    def _usage(self) -> Usage:
        """Return the sums in bytes."""
        bytes_ = self._mapped * PAGE_SIZE
        _, file, anon, shmem = bytes_.sum(0)
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


def _classes_of(part: Entries, classes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the PageClass of each row; UNCOUNTED for entries without a page of the process."""
    found = np.full(len(part), PageClass.UNCOUNTED, np.uint8)
    paged = (
        (part.kind == EntryKind.MAPPED)
        | (part.kind == EntryKind.MIGRATION)
        | (part.kind == EntryKind.DEVICE_EXCLUSIVE)
    )
    paged &= part.pfn < len(classes)
    found[paged] = classes[part.pfn[paged]]
    found[part.kind == EntryKind.DEVICE_PRIVATE] = PageClass.ANON
    return found


def _counted(classes: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return which of these count for Rss."""
    return (classes != PageClass.UNCOUNTED) & (classes != PageClass.HUGETLB)


def _present(part: Entries) -> npt.NDArray[np.bool_]:
    """Return which rows are mappings that the page itself counts."""
    return (part.kind == EntryKind.MAPPED) | (part.kind == EntryKind.DEVICE_PRIVATE)


def _blocks(huge: Entries) -> Iterator[tuple[npt.NDArray[np.int32], Pfns]]:
    """Yield mm and first pfn of each 512 pages of huge entries, some at a time; both (rows,)."""
    blocks = huge.pages >> _HUGE_ORDER
    ends = np.cumsum(blocks)
    total = int(ends[-1]) if len(ends) else 0
    for start in range(0, total, _BLOCKS_AT_ONCE):
        block = np.arange(start, min(start + _BLOCKS_AT_ONCE, total))
        row = np.searchsorted(ends, block, "right")
        first = huge.pfn[row] + ((block - ends[row] + blocks[row]) << _HUGE_ORDER)
        yield huge.mm[row], first
