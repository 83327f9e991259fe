# SPDX-License-Identifier: GPL-2.0-only
"""Bits of /proc/kpageflags, and how a kernel computes them."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from .ranges import Range

KsmRule = Literal["exact", "any-anon"]


class Kpf(IntEnum):
    """Bit numbers of /proc/kpageflags, by the kernel's names.

    numpy code uses `1 << bit`, a plain int: operations on IntEnum members are slow.
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
    """Kernels without PG_owner_2 report PG_mappedtodisk here."""
    PRIVATE = 35
    PRIVATE_2 = 36
    OWNER_PRIVATE = 37
    ARCH = 38
    UNCACHED = 39
    ARCH_2 = 41
    ARCH_3 = 42


@dataclass(frozen=True, slots=True)
class Rules:
    """How one kernel's fs/proc/page.c computes flags. Page flags are bit numbers."""

    copied: tuple[tuple[int, int], ...]
    """(KPF bit, page flag) of the bits that are copied from the flags word."""
    by_folio: bool
    """Flags, THP and MMAP are taken from the folio instead of the page."""
    types_by_head: bool
    """OFFLINE and PGTABLE are taken from the type of the folio's head instead of the page."""
    ksm: KsmRule
    """exact: only pages merged by KSM have KPF_KSM. any-anon: every anonymous page has it."""
    inferred_from: str
    """The feature from which `ksm` is inferred; "" if it was read from the kernel's code."""
    idle: int | None
    hwpoison: int | None
    large_rmappable: int | None
    """A flag of a folio's first tail, as is double_map."""
    double_map: int | None
    typed_below: int
    """A page_type word below this (signed) is a type; others are mapcounts."""
    hole: int
    """The value of a pfn without an online struct page."""


@dataclass(frozen=True, slots=True)
class Online:
    """The pfns for which pfn_to_online_page() returns a page."""

    ranges: tuple[Range, ...]
    """Sorted disjoint (start, end) pfns, end exclusive."""
    mixed: frozenset[int]
    """First pfns of sections with some ZONE_DEVICE pages, which are not online."""
