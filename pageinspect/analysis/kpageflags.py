# SPDX-License-Identifier: GPL-2.0-only
"""Computes the entries of /proc/kpageflags and /proc/kpagecount that the kernel would return.

This reproduces fs/proc/page.c with its quirks; the use of a page is a different question, see
classify. `Rules` has the differences between kernels, which are detected once by features.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..classify import Pages, codes_of
from ..errors import MISSING_MEMORY_HINT, PageInspectError
from ..model.arch import PAGEBLOCK_PFNS, SECTION_PFNS
from ..model.batch import Words
from ..model.kpageflags import Kpf, Online, Rules
from ..model.memory_map import MemoryMap
from ..model.page_words import MAPPING_ANON, MAPPING_KSM

Mask = npt.NDArray[np.bool_]
_ANON, _KSM = np.uint64(MAPPING_ANON), np.uint64(MAPPING_KSM)


def length(memory_map: MemoryMap) -> int:
    """Return the number of entries of both files: up to the end of the last memory section.

    Raises PageInspectError if max_pfn is not known.
    """
    if not memory_map.max_pfn:
        raise PageInspectError(
            "this kernel's max_pfn cannot be read, so the length of the files is not known",
            MISSING_MEMORY_HINT,
        )
    return -(-memory_map.max_pfn // SECTION_PFNS) * SECTION_PFNS


def _bit(words: Words, bit: int | None) -> Mask:
    if bit is None:
        return np.zeros(len(words), np.bool_)
    mask: Mask = (words >> np.uint64(bit) & np.uint64(1)).astype(np.bool_)
    return mask


def _int_at(words: Words, offset: int) -> npt.NDArray[np.int32]:
    """Return the int at byte `offset` of struct page, from the 64-bit words that contain it."""
    return (words >> np.uint64(8 * (offset % 8))).astype(np.uint32).view(np.int32)


class KpageColumns:
    """The entries of both files for one batch of pages, (n,) uint64 each."""

    def __init__(self, rules: Rules, pages: Pages) -> None:
        self._rules = rules
        self._pages = pages
        layout = pages.layout
        self._compound = _bit(pages.head_flags, layout.flag("head")) | pages.tail
        self._huge = codes_of(layout, "hugetlb")[pages.code]
        self._slab = codes_of(layout, "slab")[pages.code]
        self._word = _int_at(pages.own(layout.page_type), layout.page_type)

    def flags(self) -> Words:
        """Return the entries of /proc/kpageflags; unreadable pages have KPF_NOPAGE."""
        rules, pages = self._rules, self._pages
        anon = (pages.mapping & _ANON) != 0
        out = np.zeros(len(pages), np.uint64)

        def mark(bit: Kpf, where: Mask) -> None:
            out[where] |= np.uint64(1 << bit)

        source = pages.head_flags if rules.by_folio else pages.flags
        for kpf, flag in rules.copied:
            out |= (source >> np.uint64(flag) & np.uint64(1)) * np.uint64(1 << kpf)
        mark(Kpf.MMAP, self._mapped())
        mark(Kpf.ANON, anon)
        mark(Kpf.KSM, anon if rules.ksm == "any-anon" else (pages.mapping & _KSM) == _KSM)
        mark(Kpf.COMPOUND_HEAD, self._compound & ~pages.tail)
        mark(Kpf.COMPOUND_TAIL, pages.tail)
        mark(Kpf.HUGE, self._huge)
        thp, zero = self._thp_and_zero(anon)
        mark(Kpf.THP, thp)
        mark(Kpf.ZERO_PAGE, zero)
        mark(Kpf.BUDDY, self._free())
        mark(Kpf.OFFLINE, self._typed("offline"))
        mark(Kpf.PGTABLE, self._typed("table"))
        mark(Kpf.SLAB, self._slab)
        mark(Kpf.IDLE, _bit(pages.head_flags, rules.idle))
        mark(Kpf.SWAPCACHE, pages.in_swap_cache)
        mark(Kpf.HWPOISON, self._poisoned())
        if pages.batch.readable is not None:
            out[~pages.batch.readable] = np.uint64(1 << Kpf.NOPAGE)
        return out

    def count(self) -> Words:
        """Return the entries of /proc/kpagecount: an int, sign-extended; 0 where unreadable."""
        pages, rules, layout = self._pages, self._rules, self._pages.layout
        typed = self._word < rules.typed_below
        counts = np.where(typed, np.int32(0), self._word + np.int32(1))
        # A mapping of a whole compound page counts for each of its pages. In kernels with
        # PG_double_map, the pages of a file's huge page already include such mappings, and pages
        # of an anonymous one that is mapped both ways count one too many.
        entire = self._compound.copy()
        if rules.double_map is not None:
            entire &= ((pages.mapping & _ANON) != 0) | self._huge
            first_tail = pages.of_head(layout.struct_size + layout.flags)
            counts[entire & _bit(first_tail, rules.double_map)] -= 1
        counts[entire] += self._entire_mapcount()[entire] + np.int32(1)
        if not rules.by_folio:
            counts[typed | self._slab] = 0
        if pages.batch.readable is not None:
            counts[~pages.batch.readable] = 0
        return counts.astype(np.int64).view(np.uint64)

    def _of_folio(self, offset: int) -> npt.NDArray[np.int32]:
        """Return an int of each page's folio at byte `offset` from its head."""
        return _int_at(self._pages.of_head(offset), offset)

    def _entire_mapcount(self) -> npt.NDArray[np.int32]:
        offset = self._pages.layout.entire_mapcount
        if offset is None:
            return np.full(len(self._pages), -1, np.int32)
        return self._of_folio(offset)

    def _mapped(self) -> Mask:
        """Return where the kernel's folio_mapped() is true."""
        layout = self._pages.layout
        small = self._of_folio(layout.page_type) >= 0
        if layout.large_mapcount is not None:
            large = self._of_folio(layout.large_mapcount) >= 0
        else:
            # Without _large_mapcount, a folio is mapped if it is mapped as a whole or if any of
            # its pages is.
            large = self._entire_mapcount() >= 0
            if layout.nr_pages_mapped is not None:
                large |= self._of_folio(layout.nr_pages_mapped) > 0
            else:
                large |= self._any_page_mapped() & ~self._huge
        mapped: Mask = np.where(self._compound, large, small)
        # If slab is a flag, a slab page uses the mapcount word for other data.
        return mapped & ~self._slab if layout.slab is not None else mapped

    def _any_page_mapped(self) -> Mask:
        """Return where any page of the compound page is mapped, if its head is in the batch."""
        pages = self._pages
        index = pages.heads - pages.batch.first
        # Only hugetlb pages are larger than a batch, and the caller excludes these.
        inside = (index >= 0) & (index < len(pages))
        any_page = np.zeros(len(pages), np.bool_)
        any_page[index[inside & (self._word >= 0)]] = True
        spread = any_page.copy()
        spread[inside] = any_page[index[inside]]
        return spread

    def _thp_and_zero(self, anon: Mask) -> tuple[Mask, Mask]:
        """Return where THP and ZERO_PAGE are set; neither is set on hugetlb pages."""
        pages, rules, memory_map = self._pages, self._rules, self._pages.memory_map
        pfns = np.arange(pages.batch.first, pages.batch.first + len(pages))
        if rules.by_folio:
            first_tail = pages.of_head(pages.layout.struct_size + pages.layout.flags)
            thp = self._compound & _bit(first_tail, rules.large_rmappable)
        else:
            # These kernels take a compound page on an LRU list, or an anonymous one, for a THP.
            thp = self._compound & (pages.head_flag("lru") | anon)
        thp &= ~self._huge
        left = ~self._huge & ~thp
        huge_zero = np.zeros(len(pages), np.bool_)
        if memory_map.huge_zero_pfn is not None:
            huge_zero = left & (pfns - pfns % PAGEBLOCK_PFNS == memory_map.huge_zero_pfn)
        zero = left & (pfns == (-1 if memory_map.zero_pfn is None else memory_map.zero_pfn))
        return thp | huge_zero, huge_zero | zero

    def _free(self) -> Mask:
        """Return where the page is the first of a free block, or in one and without references."""
        pages = self._pages
        return self._own_type("buddy") | ((pages.block >= 0) & (pages.head_refcount == 0))

    def _is_type(self, name: str, words: npt.NDArray[np.int32]) -> Mask:
        scheme = self._pages.layout.scheme
        slot = scheme.find_slot(name)
        if slot < 0:
            return np.zeros(len(words), np.bool_)
        slots = scheme.slots(words.view(np.uint32))
        mask: Mask = slots == slot if scheme.one_of else (slots & np.uint8(slot)) != 0
        return mask

    def _own_type(self, name: str) -> Mask:
        return self._is_type(name, self._word)

    def _typed(self, name: str) -> Mask:
        if not self._rules.types_by_head:
            return self._own_type(name)
        return self._is_type(name, self._of_folio(self._pages.layout.page_type))

    def _poisoned(self) -> Mask:
        """Return PG_hwpoison of the page; for hugetlb in kernels with `by_folio`, of the folio."""
        pages, bit = self._pages, self._rules.hwpoison
        own = _bit(pages.flags, bit)
        if not self._rules.by_folio:
            return own
        return np.where(self._huge, _bit(pages.head_flags, bit), own)


@dataclass(frozen=True, slots=True)
class Piece:
    """Consecutive entries of both files; `unreadable` is the number of unreadable struct pages."""

    flags: Words
    counts: Words
    unreadable: int = 0


def entries(rules: Rules, online: Online, end: int, pages: Pages) -> tuple[int, Piece]:
    """Return the pfn of the first entry, and the entries, of one batch of pages below `end`."""
    first = pages.batch.first
    columns = KpageColumns(rules, pages)
    flags, counts = columns.flags(), columns.count()
    hole = _not_online(online, pages)
    flags[hole] = rules.hole
    counts[hole] = 0
    readable = pages.batch.readable
    unreadable = 0 if readable is None else int((~readable & ~hole).sum())
    return first, Piece(flags[: end - first], counts[: end - first], unreadable)


def pieces(rules: Rules, end: int, parts: Iterable[tuple[int, Piece]]) -> Iterator[Piece]:
    """Yield the entries of both files from pfn 0 to `end`, at most a memory section at a time.

    `parts` are the results of entries() for the pfns of `Online.ranges` that have a struct page,
    in pfn order.
    """
    position = 0
    for first, piece in parts:
        yield from _holes(rules, position, first)
        yield piece
        position = first + len(piece.flags)
    yield from _holes(rules, position, end)


def _not_online(online: Online, pages: Pages) -> Mask:
    wanted = pages.batch.wanted
    hole = np.zeros(len(pages), np.bool_) if wanted is None else ~wanted
    section = pages.batch.first - pages.batch.first % SECTION_PFNS
    if section in online.mixed and pages.layout.device_zone is not None:
        hole |= pages.zone == pages.layout.device_zone
    return hole


def _holes(rules: Rules, start: int, end: int) -> Iterator[Piece]:
    for first in range(start, end, SECTION_PFNS):
        n = min(SECTION_PFNS, end - first)
        yield Piece(np.full(n, rules.hole, np.uint64), np.zeros(n, np.uint64))
