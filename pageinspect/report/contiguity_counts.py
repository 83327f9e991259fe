# SPDX-License-Identifier: GPL-2.0-only
"""Counts what `contiguity` reports: blocks by what is in them, and owners in the way."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from ..analysis.blockers import Blockers, BlockerSums, in_the_way
from ..analysis.contiguity import (
    BlockPages,
    FreeBlocks,
    Grid,
    TypeBlocks,
    free_indexes,
    type_blocks,
    zone_blocks,
)
from ..analysis.mobility import REMEDIES, Classes, Integers, Mobility
from ..classify import CountedPages, use_name
from ..classify.batches import Mask, grouped
from ..classify.uses import USE
from ..errors import UsageError
from ..model.layout import PageLayout
from ..model.memory_map import MemoryMap
from ..model.pageblocks import Pageblocks
from ..model.provenance import Provenance
from ..owners.assign import Assigned
from ..owners.counts import OwnerRanges, ranges_of
from ..owners.table import KINDS
from .base import Coverage
from .contiguity import GIGANTIC_ORDER, HUGE_ORDER, BlockerRow, ContiguityReport, joined
from .owner_rows import OwnerNaming

LEAST_ORDER = 3
"""Smaller blocks would take more memory than their struct pages are worth."""
_MOVABLE = "movable"


def check_order(order: int) -> int:
    """Return the order of blocks; raises UsageError if it is not from LEAST_ORDER to 18."""
    if not LEAST_ORDER <= order <= GIGANTIC_ORDER:
        raise UsageError(
            f"blocks cannot have the order {order}",
            f"give a number from {LEAST_ORDER} to {GIGANTIC_ORDER}",
        )
    return order


@dataclass(frozen=True, slots=True, eq=False)
class PlacedPages:
    """Ranges of pages, each of one row and one owner, and within one block of some order."""

    pages: CountedPages
    rows: Integers
    """The row of `pages` that each range is part of."""
    starts: Integers
    lengths: Integers
    kinds: npt.NDArray[np.int16]
    keys: npt.NDArray[np.uint64]
    classes: Classes
    """A Mobility."""
    remedies: Classes
    zones: Integers
    """The index of the zone; -1 if no zone spans the page that its flags name."""

    def where(self, ranges: Mask) -> Self:
        """Return some of the ranges."""
        names = (column.name for column in fields(self) if column.name != "pages")
        return replace(self, **{name: getattr(self, name)[ranges] for name in names})


@dataclass(slots=True)
class ContiguityCounts:
    """What one piece of a walk, or all of them, has counted."""

    pages: BlockPages
    free: FreeBlocks
    owners: Blockers
    uses: Blockers
    ranges: list[Assigned] = field(default_factory=list)
    """The pages in the way; empty if they are not asked for."""
    unreadable: int = 0

    def merge(self, other: "ContiguityCounts") -> None:
        """Add what another piece has counted."""
        self.pages.merge(other.pages)
        self.free.merge(other.free)
        self.owners.merge(other.owners)
        self.uses.merge(other.uses)
        self.ranges += other.ranges
        self.unreadable += other.unreadable


class ContiguityCounter:
    """Counts pages in the blocks of one report."""

    def __init__(
        self,
        memory_map: MemoryMap,
        pageblocks: Pageblocks | None,
        order: int | None,
        *,
        pfns: bool,
    ) -> None:
        """Without `order`, blocks are pageblocks and 1 GiB. `pfns` is whether pages are listed."""
        self._pageblocks = pageblocks
        self._pfns = pfns
        self._pageblock = HUGE_ORDER if pageblocks is None else pageblocks.order
        self._order = self._pageblock if order is None else order
        every = range(self._pageblock, GIGANTIC_ORDER + 1)
        self._orders: Sequence[int] = every if order is None else (order,)
        zones, spanned = memory_map.zones, memory_map.spanned
        self.small = Grid(zones, min(self._order, self._pageblock), spanned)
        """The smallest blocks that are counted."""
        self._grid = Grid(zones, self._order, spanned)

    def fresh(self) -> ContiguityCounts:
        """Return counts of no pages."""
        return ContiguityCounts(
            BlockPages(self.small),
            FreeBlocks(len(self.small.zones)),
            Blockers(self._order),
            Blockers(self._order),
        )

    def add(self, found: ContiguityCounts, placed: PlacedPages) -> None:
        """Count the pages of whole memory sections; each range is in one block of `small`."""
        found.unreadable += placed.pages.unreadable
        _count_free(found.free, placed.pages, self.small)
        self._count(found, placed.where(placed.zones >= 0))

    def _count(self, found: ContiguityCounts, placed: PlacedPages) -> None:
        small, grid = self.small, self._grid
        found.pages.add(small.blocks(placed.zones, placed.starts), placed.classes, placed.lengths)
        blocks = grid.blocks(placed.zones, placed.starts)
        there, whole = _whole_blocks(blocks, placed, grid.order)
        way = (placed.classes == Mobility.RECLAIMABLE) | (placed.classes == Mobility.UNMOVABLE)
        some, blocks = placed.where(way), blocks[way]
        misplaced = self._misplaced(some.starts)
        uses = some.pages.use[some.rows].astype(np.int64)
        for into, who, keys in (
            (found.owners, some.kinds.astype(np.int64), some.keys),
            (found.uses, uses, np.zeros(len(uses), np.uint64)),
        ):
            rows = in_the_way(blocks, who, keys, some.remedies, some.lengths, misplaced)
            into.add(rows, whole[np.searchsorted(there, rows.blocks)])
        if self._pfns:
            found.ranges.append(
                Assigned(some.starts, some.lengths, some.rows, some.kinds, some.keys)
            )

    def _misplaced(self, pfns: Integers) -> npt.NDArray[np.bool_]:
        """Return which pages are in pageblocks for movable pages."""
        blocks = self._pageblocks
        if blocks is None or _MOVABLE not in blocks.names:
            return np.zeros(len(pfns), np.bool_)
        return blocks.of(pfns) == blocks.names.index(_MOVABLE)

    def report(
        self,
        total: ContiguityCounts,
        names: OwnerNaming,
        provenance: Provenance,
        layout: PageLayout,
        coverage: Callable[[], Coverage],
        top: int | None,
    ) -> ContiguityReport:
        """Return the report of all pages; `coverage` is called after owners were named."""
        fine = total.pages
        by_order = {n: fine if n == fine.grid.order else fine.joined(n) for n in self._orders}
        whole = by_order[self._order].states < Mobility.RESERVED
        named = _BlockerRows(names, ranges_of(total.ranges) if self._pfns else None)
        owners = tuple(named.by_owner(total.owners.sums(whole)))
        uses = tuple(_by_use(layout, total.uses.sums(whole).ranked()))
        return ContiguityReport(
            provenance,
            layout,
            coverage(),
            self._order,
            self._pageblock,
            tuple(row for pages in by_order.values() for row in zone_blocks(pages)),
            tuple(
                row
                for zone, counts in zip(fine.grid.zones, total.free.counts.tolist(), strict=True)
                for row in free_indexes(zone, counts)
            ),
            tuple(self._types(fine)),
            owners,
            uses,
            top,
        )

    def _types(self, fine: BlockPages) -> Iterator[TypeBlocks]:
        if self._pageblocks is None:
            return
        order = self._pageblocks.order
        pages = fine if fine.grid.order == order else fine.joined(order)
        starts = pages.grid.starts(np.arange(len(pages.grid)))
        yield from type_blocks(pages, self._pageblocks.of(starts), self._pageblocks.names)


def _count_free(free: FreeBlocks, pages: CountedPages, grid: Grid) -> None:
    begin, wanted = (pages.folios > 0) & (pages.use == USE["buddy"]), pages.wanted
    rows = np.flatnonzero(begin if wanted is None else begin & wanted)
    zones = grid.zones_of(pages.node[rows], pages.zone[rows], pages.pfns[rows])
    there = zones >= 0
    free.add(zones[there], pages.order[rows][there], pages.folios[rows][there])


def _whole_blocks(
    blocks: Integers, placed: PlacedPages, order: int
) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Return the blocks of these pages, sorted, and which of them have no reserved pages."""
    there, at = grouped(blocks)
    usable = np.where(placed.classes == Mobility.RESERVED, 0, placed.lengths)
    return there, np.bincount(at, usable, len(there)) == 1 << order


@dataclass(slots=True)
class _BlockerRows:
    """Makes rows of owners."""

    names: OwnerNaming
    ranges: OwnerRanges | None

    def by_owner(self, sums: BlockerSums) -> list[BlockerRow]:
        texts: dict[tuple[int, int], str] = {}
        for number in np.unique(sums.who).tolist():
            keys = np.unique(sums.keys[sums.who == number]).tolist()
            found = self.names.names(KINDS[number].name, keys)
            texts |= {(number, key): name.name for key, name in zip(keys, found, strict=True)}
        ranges = {} if self.ranges is None else self.ranges.by_owner()
        rows: dict[tuple[str, str, str], list[BlockerRow]] = {}
        for number, key, rest in _each(sums):
            pfns = tuple(ranges.get((number, key), ()))
            row = BlockerRow(KINDS[number].name, texts[number, key], *rest, pfns)
            rows.setdefault((row.kind, row.name, row.remedy), []).append(row)
        # Owners with the same name are one row.
        every = [joined(same) for same in rows.values()]
        return sorted(every, key=lambda row: (-row.alone, -row.blocks, -row.pages))


def _by_use(layout: PageLayout, sums: BlockerSums) -> Iterator[BlockerRow]:
    for use, _, rest in _each(sums):
        yield BlockerRow(use_name(layout, use), "", *rest, ())


def _each(sums: BlockerSums) -> Iterator[tuple[int, int, tuple[str, int, int, int, int]]]:
    columns = (sums.ways, sums.pages, sums.blocks, sums.alone, sums.misplaced)
    for number, key, way, *rest in zip(
        *(column.tolist() for column in (sums.who, sums.keys, *columns)), strict=True
    ):
        pages, blocks, alone, misplaced = rest
        yield number, key, (REMEDIES[way], pages, blocks, alone, misplaced)
