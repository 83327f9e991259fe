# SPDX-License-Identifier: GPL-2.0-only
"""Whether the kernel can move a page or free it, so that the memory around it becomes contiguous.

The table MOBILITIES decides by use. What it says of pages on LRU lists holds only if nothing else
than the kernel's own bookkeeping refers to them: see references().
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ..classify import USE_CODES, Pages, use_name
from ..classify.uses import USE, uses_of
from ..classify.words import (
    HEAD_REFCOUNT,
    LARGE_MAPCOUNT,
    MAPPING,
    MOVABLE_TAG,
    PINCOUNT,
    TYPE_WORD,
    flag_bit,
)
from ..model.arch import MAX_ORDER
from ..model.layout import PageLayout
from ..model.page_words import MAPPING_ANON, MAPPING_MOVABLE
from ..model.pageblocks import BatchReferences

Integers = npt.NDArray[np.int64]
Classes = npt.NDArray[np.uint8]


class Mobility:
    """What can be done with a page, as plain ints, from best to worst."""

    FREE: Final = 0
    MOVABLE: Final = 1
    RECLAIMABLE: Final = 2
    UNMOVABLE: Final = 3
    RESERVED: Final = 4


MOBILITY_NAMES = ("free", "movable", "reclaimable", "unmovable", "reserved")
SKIPPED, UNDECIDED = 5, 6
"""What taking memory offline makes of some pages that are otherwise unmovable."""
OUTCOMES = (*MOBILITY_NAMES, "skipped", "undecided")
REMEDIES = ("", "drain", "move", "move or drop", "reclaim", "unplug", "shrink pool", "unpin")
"""What could be done with pages so that they are not in the way."""
_UNPIN = REMEDIES.index("unpin")

PIN = 1024
"""References of a pin of a small folio (GUP_PIN_COUNTING_BIAS). In a large folio a pin is one
reference, and pins are counted apart."""


@dataclass(frozen=True, slots=True)
class UseMobility:
    """What can be done with pages of some uses."""

    uses: tuple[str, ...]
    mobility: int
    remedy: str
    """One of REMEDIES."""
    sentence: str
    on_lru: bool = False
    """Whether it holds only for pages that are on an LRU list or in a folio batch."""


MOBILITIES = (
    UseMobility(("buddy",), Mobility.FREE, "", "Free blocks of the buddy allocator."),
    UseMobility(
        ("pcp",),
        Mobility.MOVABLE,
        "drain",
        "Pages on per-CPU free lists are free, but not part of a free block until the list is "
        "drained. Compaction, contiguous allocations and offlining drain the lists.",
    ),
    UseMobility(
        ("file",),
        Mobility.MOVABLE,
        "move or drop",
        "Page cache can be moved, and dropped if it is clean.",
        on_lru=True,
    ),
    UseMobility(
        ("shmem", "anon", "ksm", "swapcache"),
        Mobility.MOVABLE,
        "move",
        "Memory of processes and of tmpfs can be moved: page tables refer to it, and these can be "
        "changed.",
        on_lru=True,
    ),
    UseMobility(
        ("movable_ops", "zsmalloc"),
        Mobility.MOVABLE,
        "move",
        "Drivers with movable_ops, such as zsmalloc, can move their pages.",
    ),
    UseMobility(
        ("hugetlb",),
        Mobility.MOVABLE,
        "move",
        "Huge pages up to the largest order of the buddy allocator can be moved, or freed if they "
        "are not in use. Larger ones are unmovable: the pool must be made smaller.",
    ),
    UseMobility(
        ("offline",),
        Mobility.UNMOVABLE,
        "unplug",
        "Pages that a hypervisor took are unmovable, except those of a balloon that has "
        "movable_ops: these can be moved.",
    ),
    UseMobility(
        ("slab",),
        Mobility.UNMOVABLE,
        "",
        "Slabs are unmovable, except those of caches with SLAB_RECLAIM_ACCOUNT, such as dentries: "
        "shrinkers free their objects, and a slab without objects is freed.",
    ),
    UseMobility(
        ("reserved", "zone_device"),
        Mobility.RESERVED,
        "",
        "Memory of the firmware, of boot-time allocations, of the kernel image and of devices "
        "never becomes free.",
    ),
)
"""All other uses are unmovable: kernel, idle, mapped, table, large_kmalloc and others."""


@dataclass(frozen=True, slots=True, eq=False)
class PageMobility:
    """For each row of a batch, (n,)."""

    classes: Classes
    """A Mobility."""
    remedies: Classes
    """An index into REMEDIES."""
    references: Integers
    """References of the folio that nothing explains, without pins."""
    pins: Integers
    """Pins of the folio."""


def unknown_mobility(rows: int) -> PageMobility:
    """Return zeros, for a kernel without types, of which mobility is not known."""
    numbers, classes = np.zeros(rows, np.int64), np.zeros(rows, np.uint8)
    return PageMobility(classes, classes, numbers, numbers)


@dataclass(frozen=True, slots=True, eq=False)
class _OfUse:
    classes: Classes
    remedies: Classes
    on_lru: npt.NDArray[np.bool_]
    hugetlb: npt.NDArray[np.bool_]
    offline: npt.NDArray[np.bool_]


class MobilityRules:
    """Decides what can be done with the pages of one kernel, by MOBILITIES."""

    def __init__(self, layout: PageLayout, batches: BatchReferences) -> None:
        self._layout = layout
        self._batches = batches
        self._of_use = _by_use(layout)

    def __call__(self, pages: Pages) -> PageMobility:
        """Return the mobility of each row of a batch; all slabs are unmovable here."""
        use, of_use = pages.use, self._of_use
        classes, remedies = of_use.classes[use], of_use.remedies[use]
        in_batches = self._batches.of(pages.heads)
        on_lru = of_use.on_lru[use]
        lost = on_lru & ~pages.head_flag("lru") & (in_batches == 0)
        classes[lost], remedies[lost] = Mobility.UNMOVABLE, 0
        gigantic = of_use.hugetlb[use] & (pages.folio_order > MAX_ORDER)
        classes[gigantic] = Mobility.UNMOVABLE
        remedies[gigantic] = REMEDIES.index("shrink pool")
        moved = of_use.offline[use] & self._has_movable_ops(pages)
        classes[moved], remedies[moved] = Mobility.MOVABLE, REMEDIES.index("move")
        references, pins = self._references(pages, on_lru, of_use.hugetlb[use], in_batches)
        pinned = (references > 0) | (pins > 0)
        classes[pinned], remedies[pinned] = Mobility.UNMOVABLE, _UNPIN
        return PageMobility(classes, remedies, references, pins)

    def _has_movable_ops(self, pages: Pages) -> npt.NDArray[np.bool_]:
        if self._layout.movable_tag:
            return pages.read(MOVABLE_TAG) == MAPPING_MOVABLE
        if self._layout.resets:
            # PG_movable_ops is PG_uptodate. Kernels with it reset types.
            return pages.flag("uptodate")
        return np.zeros(len(pages), np.bool_)

    def _references(
        self,
        pages: Pages,
        on_lru: npt.NDArray[np.bool_],
        hugetlb: npt.NDArray[np.bool_],
        in_batches: Integers,
    ) -> tuple[Integers, Integers]:
        """Return the references that nothing explains, and pins; 0 for pages of other uses.

        Explained are those that the kernel's folio_expected_ref_count() adds up: of the swap cache
        and the page cache for each page, of PG_private, and of each mapping; and those of folio
        batches. Kernels without a count of all mappings of a large folio show only its pins.
        """
        layout, order = self._layout, pages.folio_order.astype(np.int64)
        large = order > 0
        pins = np.where((on_lru | hugetlb) & large, pages.read(PINCOUNT), 0).astype(np.int64)
        pins = np.maximum(pins, 0)
        mapping = pages.read(MAPPING)
        anon = mapping & np.uint64(MAPPING_ANON) != 0
        expected = pages.in_swap_cache.astype(np.int64) << order
        cached = (mapping != 0).astype(np.int64) << order
        private = pages.read(flag_bit("private", "folio")) != 0
        expected += np.where(anon, 0, cached + private)
        expected += np.where(large, pages.read(LARGE_MAPCOUNT), _mapcounts(pages)) + 1
        excess = pages.read(HEAD_REFCOUNT) - expected - in_batches
        counted = on_lru & (~large | (layout.large_mapcount is not None))
        excess = np.where(counted & (excess > 0), excess, 0)
        pins += np.where(large, 0, excess // PIN)
        return np.where(large, np.maximum(excess - pins, 0), excess % PIN), pins


def when_offlining(pages: Pages) -> Classes:
    """Return what taking memory offline makes of unmovable pages, an index into OUTCOMES, (n,).

    The kernel's has_unmovable_pages() and test_pages_isolated() pass over pages with a hardware
    error: since Linux kernel commit b023f46813cd ("memory-hotplug: skip HWPoisoned page when
    offlining pages") (in v3.8). Reserved pages and those of a larger folio are found to be
    unmovable before. They also pass over PageOffline() pages without a reference, and the driver of
    others may give up its reference when the kernel asks: since Linux kernel commit aa218795cb5f
    ("mm: Allow to offline unmovable PageOffline() pages via MEM_GOING_OFFLINE") (in v5.8).
    """
    poisoned = (pages.use == USE["hwpoison"]) & (pages.folio_order == 0) & ~pages.flag("reserved")
    offline = uses_of(pages.layout, "offline")[pages.use]
    found = np.full(len(pages), Mobility.UNMOVABLE, np.uint8)
    found[offline] = np.where(pages.read(HEAD_REFCOUNT)[offline] > 0, UNDECIDED, SKIPPED)
    found[poisoned] = SKIPPED
    return found


def _mapcounts(pages: Pages) -> npt.NDArray[np.int32]:
    """Return _mapcount of each page: the number of its mappings, less 1."""
    words: npt.NDArray[np.int32] = pages.read(TYPE_WORD).astype(np.uint32).view(np.int32)
    return words


def _by_use(layout: PageLayout) -> _OfUse:
    of_name = {name: rule for rule in MOBILITIES for name in rule.uses}
    classes = np.full(USE_CODES, Mobility.UNMOVABLE, np.uint8)
    remedies = np.zeros(USE_CODES, np.uint8)
    masks = {name: np.zeros(USE_CODES, np.bool_) for name in ("on_lru", "hugetlb", "offline")}
    for code in range(USE_CODES):
        name = use_name(layout, code)
        # Types of old kernels are bits, of which several may be set.
        rule = next((of_name[part] for part in name.split("+") if part in of_name), None)
        if rule is not None:
            classes[code], remedies[code] = rule.mobility, REMEDIES.index(rule.remedy)
            masks["on_lru"][code] = rule.on_lru
        for special in ("hugetlb", "offline"):
            masks[special][code] = name == special
    return _OfUse(classes, remedies, **masks)
