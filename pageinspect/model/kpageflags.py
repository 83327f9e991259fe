"""Bits of /proc/kpageflags, and the rules by which one kernel sets them."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from .ranges import Range

KsmRule = Literal["exact", "any-anon"]


class Kpf(IntEnum):
    """Bits of /proc/kpageflags, by the kernel's names for them.

    numpy gets `1 << bit`, a plain int: see `schemes.Reading`.
    """

    LOCKED = 0
    ERROR = 1
    REFERENCED = 2
    UPTODATE = 3
    DIRTY = 4
    LRU = 5
    ACTIVE = 6
    SLAB = 7
    WRITEBACK = 8
    RECLAIM = 9
    BUDDY = 10
    MMAP = 11
    ANON = 12
    SWAPCACHE = 13
    SWAPBACKED = 14
    COMPOUND_HEAD = 15
    COMPOUND_TAIL = 16
    HUGE = 17
    UNEVICTABLE = 18
    HWPOISON = 19
    NOPAGE = 20
    KSM = 21
    THP = 22
    OFFLINE = 23
    ZERO_PAGE = 24
    IDLE = 25
    PGTABLE = 26
    RESERVED = 32
    MLOCKED = 33
    OWNER_2 = 34
    """Of a kernel without PG_owner_2, PG_mappedtodisk."""
    PRIVATE = 35
    PRIVATE_2 = 36
    OWNER_PRIVATE = 37
    ARCH = 38
    UNCACHED = 39
    ARCH_2 = 41
    ARCH_3 = 42


@dataclass(frozen=True, slots=True)
class Rules:
    """How one kernel's fs/proc/page.c goes about it. Flags are bit numbers."""

    copied: tuple[tuple[int, int], ...]
    """(KPF bit, page flag) of what is copied from the flags word."""
    by_folio: bool
    """Flags are those of the folio, and a folio tells whether it is a huge page or mapped."""
    types_by_head: bool
    """OFFLINE and PGTABLE are told by the type of the folio's head."""
    ksm: KsmRule
    """any-anon: every anonymous page is reported as merged by KSM."""
    inferred_from: str
    """What tells of `ksm` where the kernel's code does not; "" where it does."""
    idle: int | None
    hwpoison: int | None
    large_rmappable: int | None
    """Of a folio's first tail, as is double_map."""
    double_map: int | None
    typed_below: int
    """A page_type word below this has a type, and is no mapcount."""
    hole: int
    """What a pfn without an online struct page reads."""


@dataclass(frozen=True, slots=True)
class Online:
    """Where pfn_to_online_page() finds a page."""

    ranges: tuple[Range, ...]
    """Sorted disjoint (start, end) pfns, end exclusive."""
    mixed: frozenset[int]
    """First pfns of the sections in which pages of ZONE_DEVICE do not count as online."""
