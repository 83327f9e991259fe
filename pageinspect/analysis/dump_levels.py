# SPDX-License-Identifier: GPL-2.0-only
"""Which pages makedumpfile leaves out at each dump level, by its own rules for struct pages.

A dump level is a sum of bits, each of which excludes pages of one sort. Rules hold for the head of
a folio and are applied to all of its pages. Zero pages are not among them: struct page does not
show them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..classify import codes_of
from ..classify.batches import Mask
from ..classify.reads import Declared, Declaring
from ..classify.uses import USE, Pages
from ..classify.words import MAPPING, flag_bit
from ..model.page_words import MAPPING_ANON
from ..model.presence import Presence

ZERO = 1
CACHE = 2
PRIVATE = 4
USER = 8
FREE = 16
MAX_LEVEL = 31

_LRU, _PRIVATE_FLAG = flag_bit("lru", "folio"), flag_bit("private", "folio")
_POISON = flag_bit("hwpoison", "folio")


@dataclass(frozen=True, slots=True)
class LevelRule(Declaring):
    """A rule of makedumpfile: pages that any of the bits `levels` excludes; 0 is every level."""

    name: str
    sentence: str
    levels: int
    compute: Callable[[Pages], Mask]
    """Returns where it holds, (n,) bool, from `reads` only."""
    reads: tuple[Declared, ...]

    def __str__(self) -> str:
        return f"the rule {self.name}"


def _typed(pages: Pages, name: str) -> Mask:
    return codes_of(pages.layout, name)[pages.code]


def _free(pages: Pages) -> Mask:
    free = _typed(pages, "unaccepted")
    free[pages.free_pages] = True
    return free


def _anon(pages: Pages) -> Mask:
    tagged: Mask = (pages.read(MAPPING) & np.uint64(MAPPING_ANON)) != 0
    return tagged & ~_typed(pages, "slab")


def _cache(pages: Pages) -> Mask:
    listed: Mask = pages.read(_LRU) != 0
    return (listed | pages.in_swap_cache) & ~_anon(pages)


def _private(pages: Pages) -> Mask:
    private: Mask = pages.read(_PRIVATE_FLAG) != 0
    return private


_CACHE_READS = (_LRU, Pages.in_swap_cache, MAPPING, Pages.code)

LEVEL_RULES: tuple[LevelRule, ...] = (
    LevelRule(
        "free",
        "It is in a free block of the buddy allocator, or is memory that was not accepted yet.",
        FREE,
        _free,
        (Pages.code, Pages.free_pages),
    ),
    LevelRule(
        "cache",
        "PG_lru is set, or PG_swapcache and PG_swapbacked, it is not anonymous, and PG_private "
        "is not set.",
        CACHE | PRIVATE,
        lambda pages: _cache(pages) & ~_private(pages),
        (*_CACHE_READS, _PRIVATE_FLAG),
    ),
    LevelRule(
        "private",
        "As for cache, and PG_private is set.",
        PRIVATE,
        lambda pages: _cache(pages) & _private(pages),
        (*_CACHE_READS, _PRIVATE_FLAG),
    ),
    LevelRule(
        "user",
        "Bit 0 of its mapping is set and it is not slab: anonymous memory; or it is hugetlb.",
        USER,
        lambda pages: _anon(pages) | _typed(pages, "hugetlb"),
        (MAPPING, Pages.code),
    ),
    LevelRule(
        "hwpoison",
        "PG_hwpoison is set: it cannot be read.",
        0,
        lambda pages: (pages.read(_POISON) != 0) | (pages.use == USE["hwpoison"]),
        (_POISON, Pages.use),
    ),
    LevelRule(
        "offline",
        "It has the page type offline: the hypervisor has its memory.",
        0,
        lambda pages: _typed(pages, "offline"),
        (Pages.code,),
    ),
)

DUMP_READS: tuple[Declared, ...] = tuple(
    dict.fromkeys(read for rule in LEVEL_RULES for read in rule.reads)
)
"""What all rules read."""


def excluding_rules(pages: Pages, level: int) -> npt.NDArray[np.int8]:
    """Return the first rule by which a level excludes each page, (n,) int8.

    The values are indices into LEVEL_RULES, -1 for pages that are not excluded.
    """
    found = np.full(len(pages), -1, np.int8)
    for i, rule in enumerate(LEVEL_RULES):
        if not rule.levels or rule.levels & level:
            found[(found < 0) & rule.computed(pages)] = i
    return found


def lost_pages(pages: Pages, presence: Presence, level: int) -> Mask:
    """Return which pages that there were to dump are absent without a rule of this level, (n,).

    Of those that were left out of an ELF core of a level with ZERO none is lost: they may have been
    zero.
    """
    pfns = pages.pfns
    kept: Mask = presence.kept.has(pfns)
    lost: Mask = kept & ~presence.present.has(pfns)
    if presence.form == "kdump" or not level & ZERO:
        left_out = presence.dumpable.has(pfns) & ~kept
        lost |= left_out & (excluding_rules(pages, level) < 0)
    return lost
