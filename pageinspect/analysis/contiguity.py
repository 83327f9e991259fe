# SPDX-License-Identifier: GPL-2.0-only
"""Counts pages by what can be done with them, in aligned blocks of each zone.

A block has the state of its worst page. Pages of a block that its zone lacks count as reserved.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..classify.batches import grouped
from ..classify.columns import ramp
from ..model.arch import MAX_ORDER
from ..model.memory_map import Zone
from ..model.ranges import Range, intersect, merge
from .mobility import MOBILITY_NAMES, Classes, Integers, Mobility

N = len(MOBILITY_NAMES)
_ZONE_SHIFT = 50
"""The index of a zone and the number of a block at this bit make a key; pfns have 40 bits."""
ABSENT = N
"""The state of a block in which the zone has no page."""


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Ranges of pages, each within one block: sorted by pfn."""

    rows: Integers
    """The row of each in what was cut."""
    starts: Integers
    lengths: Integers


def cut(starts: Integers, lengths: Integers, order: int) -> Parts:
    """Return ranges of pages cut at multiples of 1 << order."""
    ends = starts + lengths
    first = starts >> order
    n = ((ends - 1) >> order) - first + 1
    rows = np.repeat(np.arange(len(starts)), n)
    blocks = first[rows] + ramp(n)
    begins = np.maximum(starts[rows], blocks << order)
    return Parts(rows, begins, np.minimum(ends[rows], (blocks + 1) << order) - begins)


class Grid:
    """The aligned blocks of one order with struct pages, numbered zone after zone, then by pfn."""

    def __init__(self, zones: Sequence[Zone], order: int, spanned: Sequence[Range]) -> None:
        """`spanned` are the pfns with struct pages, sorted and disjoint: holes have no blocks."""
        self.zones = tuple(zones)
        self.order = order
        self.spanned = tuple(spanned)
        parts = [
            (i, start, end)
            for i, zone in enumerate(zones)
            for start, end in merge(
                (low >> order, ((high - 1) >> order) + 1)
                for low, high in intersect(self.spanned, [(zone.start, zone.end)])
            )
        ]
        self._zones, self._first, ends = np.array(parts, np.int64).reshape(-1, 3).T
        self._keys = self._zones << _ZONE_SHIFT | self._first
        self._bases = np.concatenate(([0], np.cumsum(ends - self._first))).astype(np.int64)
        places = np.searchsorted(self._zones, np.arange(len(zones) + 1))
        self.bounds = self._bases[places]
        """The number of the first block of each zone, and after the last of all."""
        self._starts = np.array([zone.start for zone in zones], np.int64)
        self._ends = np.array([zone.end for zone in zones], np.int64)
        most = [max((getattr(z, name) for z in zones), default=0) for name in ("node", "number")]
        self._of_flags = np.full((most[0] + 1, most[1] + 1), -1, np.int64)
        for i, zone in enumerate(zones):
            self._of_flags[zone.node, zone.number] = i

    def __len__(self) -> int:
        return int(self.bounds[-1])

    def zones_of(
        self, nodes: npt.NDArray[np.uint16], numbers: npt.NDArray[np.uint8], pfns: Integers
    ) -> Integers:
        """Return the index of the zone of each page; -1 if no zone spans it that its flags name."""
        most = self._of_flags.shape
        known = (nodes < most[0]) & (numbers < most[1])
        found = self._of_flags[np.where(known, nodes, 0), np.where(known, numbers, 0)]
        found = np.where(known, found, -1)
        if not len(self.zones):
            return found
        inside = (pfns >= self._starts[found]) & (pfns < self._ends[found])
        return np.where(inside, found, -1)

    def blocks(self, zones: Integers, pfns: Integers) -> Integers:
        """Return the number of the block of each page, from the index of its zone, which it has."""
        at = pfns >> self.order
        rows = np.searchsorted(self._keys, zones << _ZONE_SHIFT | at, "right") - 1
        found: Integers = self._bases[rows] + at - self._first[rows]
        return found

    def zone_of(self, blocks: Integers) -> Integers:
        """Return the index of the zone of each block."""
        found: Integers = self._zones[np.searchsorted(self._bases, blocks, "right") - 1]
        return found

    def starts(self, blocks: Integers) -> Integers:
        """Return the first pfn of each block, which may lie before its zone."""
        rows = np.searchsorted(self._bases, blocks, "right") - 1
        found: Integers = (blocks - self._bases[rows] + self._first[rows]) << self.order
        return found


class BlockPages:
    """The pages of each block of a Grid by Mobility.

    While pages are added, memory grows with the blocks that they are in.
    """

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self.parts: list[tuple[Integers, npt.NDArray[np.integer]]] = []

    def add(self, blocks: Integers, classes: Classes, lengths: Integers) -> None:
        """Add ranges of pages, each within one block."""
        some, at = grouped(blocks)
        counts = np.bincount(at * N + classes, lengths, len(some) * N).reshape(-1, N)
        width = np.uint16 if self.grid.order < 16 else np.uint32
        self.parts.append((some, counts.astype(width)))

    def merge(self, other: "BlockPages") -> None:
        """Add the pages of another part of the walk."""
        self.parts += other.parts

    @cached_property
    def counts(self) -> npt.NDArray[np.int32]:
        """Pages by [block, Mobility], (blocks, 5). All pages must be added."""
        counts = np.zeros((len(self.grid), N), np.int32)
        for blocks, part in self.parts:
            np.add.at(counts, blocks, part)
        return counts

    @cached_property
    def states(self) -> Classes:
        """The state of each block: a Mobility, or ABSENT, (blocks,). All pages must be added."""
        counts = self.counts
        there = counts.sum(axis=1, dtype=np.int64)
        states = np.zeros(len(counts), np.uint8)
        for mobility in range(N):
            states[counts[:, mobility] > 0] = mobility
        states[there < 1 << self.grid.order] = Mobility.RESERVED
        states[there == 0] = ABSENT
        return states

    def joined(self, order: int) -> "BlockPages":
        """Return the same pages in blocks of a larger order."""
        larger = BlockPages(Grid(self.grid.zones, order, self.grid.spanned))
        blocks = np.arange(len(self.grid))
        zones = self.grid.zone_of(blocks)
        into = larger.grid.blocks(zones, self.grid.starts(blocks))
        larger.parts.append((into, self.counts))
        return larger


@dataclass(frozen=True, slots=True)
class Spread:
    """How many pages of a Mobility the blocks of a zone have: percentiles by nearest rank."""

    p50: int
    p99: int
    most: int


def spread(numbers: npt.NDArray[np.integer]) -> Spread:
    """Return the percentiles of numbers; 0 without any."""
    if not len(numbers):
        return Spread(0, 0, 0)
    ordered = np.sort(numbers)
    at = [-(-len(ordered) * percent // 100) - 1 for percent in (50, 99)]
    return Spread(int(ordered[at[0]]), int(ordered[at[1]]), int(ordered[-1]))


@dataclass(frozen=True, slots=True)
class ZoneBlocks:
    """The blocks of one order in one zone."""

    node: int
    zone: str
    order: int
    blocks: int
    """Blocks in which the zone has pages."""
    free: int
    movable: int
    reclaimable: int
    unmovable: int
    reserved: int
    with_unmovable: int
    """Blocks with at least one unmovable page, whatever their state."""
    free_pages: Spread
    movable_pages: Spread
    unmovable_pages: Spread

    @property
    def unmovable_share(self) -> float:
        """Contiguitas' share of blocks with an unmovable page, in percent."""
        return 100 * self.with_unmovable / self.blocks if self.blocks else 0.0


def zone_blocks(pages: BlockPages) -> list[ZoneBlocks]:
    """Return the blocks of each zone, in order of the zones."""
    found = []
    for i, zone in enumerate(pages.grid.zones):
        part = slice(int(pages.grid.bounds[i]), int(pages.grid.bounds[i + 1]))
        there = pages.states[part] != ABSENT
        states, counts = pages.states[part][there], pages.counts[part][there]
        numbers = np.bincount(states, minlength=N).tolist()
        found.append(
            ZoneBlocks(
                node=zone.node,
                zone=zone.name,
                order=pages.grid.order,
                blocks=len(states),
                **dict(zip(MOBILITY_NAMES, numbers, strict=True)),
                with_unmovable=int(np.count_nonzero(counts[:, Mobility.UNMOVABLE])),
                free_pages=spread(counts[:, Mobility.FREE]),
                movable_pages=spread(counts[:, Mobility.MOVABLE]),
                unmovable_pages=spread(counts[:, Mobility.UNMOVABLE]),
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class FreeIndexes:
    """How fragmented the free memory of a zone is for one order, in thousandths."""

    node: int
    zone: str
    order: int
    free_blocks: int
    """Free blocks of the buddy allocator of exactly this order, as in /proc/buddyinfo."""
    fragmentation: int
    """As extfrag_index: -1000 if an allocation succeeds, near 0 if there is too little free memory,
    near 1000 if it is fragmented."""
    unusable: int
    """As unusable_index: the part of the free memory in blocks of smaller orders."""


def free_indexes(zone: Zone, free_blocks: Sequence[int]) -> list[FreeIndexes]:
    """Return the indexes of each order, from the number of free blocks by order."""
    total = sum(free_blocks)
    pages = sum(n << order for order, n in enumerate(free_blocks))
    found = []
    for order, n in enumerate(free_blocks):
        suitable = sum(m << k - order for k, m in enumerate(free_blocks) if k >= order)
        if not total:
            fragmentation = 0
        elif suitable:
            fragmentation = -1000
        else:
            fragmentation = 1000 - (1000 + pages * 1000 // (1 << order)) // total
        unusable = (pages - (suitable << order)) * 1000 // pages if pages else 1000
        found.append(FreeIndexes(zone.node, zone.name, order, n, fragmentation, unusable))
    return found


@dataclass(frozen=True, slots=True)
class TypeBlocks:
    """The pageblocks of one migratetype in one zone, and their pages by Mobility."""

    node: int
    zone: str
    type: str
    blocks: int
    pages: tuple[int, ...]
    """Pages by Mobility."""


def type_blocks(
    pages: BlockPages, types: npt.NDArray[np.uint8], names: Sequence[str]
) -> list[TypeBlocks]:
    """Return the pageblocks of each zone by migratetype.

    `types` is the migratetype of each block, an index into `names`, or another number.
    """
    found = []
    for i, zone in enumerate(pages.grid.zones):
        part = slice(int(pages.grid.bounds[i]), int(pages.grid.bounds[i + 1]))
        there = pages.states[part] != ABSENT
        for number, name in enumerate(names):
            chosen = there & (types[part] == number)
            sums = pages.counts[part][chosen].sum(axis=0, dtype=np.int64)
            n = int(chosen.sum())
            found.append(TypeBlocks(zone.node, zone.name, name, n, tuple(sums.tolist())))
    return found


class FreeBlocks:
    """Free blocks of the buddy allocator by zone and order."""

    def __init__(self, zones: int) -> None:
        self.counts = np.zeros((zones, MAX_ORDER + 1), np.int64)

    def add(self, zones: Integers, orders: npt.NDArray[np.uint8], blocks: Integers) -> None:
        """Add numbers of free blocks, by the index of their zone and their order."""
        np.add.at(self.counts, (zones, orders), blocks)

    def merge(self, other: "FreeBlocks") -> None:
        """Add the blocks of another part of the walk."""
        self.counts += other.counts
