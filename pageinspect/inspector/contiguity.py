# SPDX-License-Identifier: GPL-2.0-only
"""Finds how contiguous memory is, and what keeps blocks of it from being free."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

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
from ..analysis.mobility import REMEDIES, Integers, Mobility
from ..classify import use_name
from ..classify.batches import grouped
from ..classify.uses import USE
from ..errors import UsageError
from ..model.ranges import Range
from ..owners.assign import Assigned
from ..owners.counts import OwnerRanges, ranges_of
from ..owners.table import KINDS
from ..report.base import coverage_of
from ..report.contiguity import GIGANTIC_ORDER, HUGE_ORDER, BlockerRow, ContiguityReport, joined
from .fold import Fold
from .inspector import Inspector
from .lost_pages import with_pointer
from .sweep import Sweep, Swept

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


@dataclass(slots=True)
class _Counted:
    """What one piece of a walk, or all of them, has counted."""

    pages: BlockPages
    free: FreeBlocks
    owners: Blockers
    uses: Blockers
    ranges: list[Assigned] = field(default_factory=list)
    """The pages in the way; empty if they are not asked for."""
    unreadable: int = 0

    def merge(self, other: "_Counted") -> None:
        self.pages.merge(other.pages)
        self.free.merge(other.free)
        self.owners.merge(other.owners)
        self.uses.merge(other.uses)
        self.ranges += other.ranges
        self.unreadable += other.unreadable


def find_contiguity(
    inspector: Inspector,
    *,
    fold: Fold,
    order: int | None = None,
    top: int | None = None,
    pfns: bool = True,
) -> ContiguityReport:
    """Count the blocks of each zone by what is in them, and rank what is in the way.

    Without `order`, blocks are pageblocks and 1 GiB. `top` is the number of blockers to show, and
    `pfns` whether their pages are listed. Raises PageInspectError.
    """
    sweep = Sweep(inspector)
    blocks = sweep.pageblocks
    pageblock = HUGE_ORDER if blocks is None else blocks.order
    chosen = pageblock if order is None else order
    total = _walked(inspector, sweep, min(chosen, pageblock), chosen, fold, pfns=pfns)
    fine = total.pages
    orders = range(pageblock, GIGANTIC_ORDER + 1) if order is None else (order,)
    by_order = {n: fine if n == fine.grid.order else fine.joined(n) for n in orders}
    whole = by_order[chosen].states < Mobility.RESERVED
    named = _BlockerRows(sweep, ranges_of(total.ranges) if pfns else None)
    owners = tuple(named.by_owner(total.owners.sums(whole)))
    uses = tuple(_by_use(inspector, total.uses.sums(whole).ranked()))
    problems = tuple(dict.fromkeys(sweep.problems))
    coverage = coverage_of(
        inspector.target.provenance,
        inspector.layout,
        inspector.memory_map.spanned_pages,
        total.unreadable,
        problems,
    )
    return ContiguityReport(
        inspector.target.provenance,
        inspector.layout,
        with_pointer(inspector, coverage),
        chosen,
        pageblock,
        tuple(row for pages in by_order.values() for row in zone_blocks(pages)),
        tuple(
            row
            for zone, counts in zip(fine.grid.zones, total.free.counts.tolist(), strict=True)
            for row in free_indexes(zone, counts)
        ),
        tuple(_types(sweep, fine, pageblock)),
        owners,
        uses,
        top,
    )


def _types(sweep: Sweep, fine: BlockPages, order: int) -> Iterator[TypeBlocks]:
    if sweep.pageblocks is None:
        return
    pages = fine if fine.grid.order == order else fine.joined(order)
    starts = pages.grid.starts(np.arange(len(pages.grid)))
    yield from type_blocks(pages, sweep.pageblocks.of(starts), sweep.pageblocks.names)


def _walked(
    inspector: Inspector, sweep: Sweep, fine: int, order: int, fold: Fold, *, pfns: bool
) -> _Counted:
    zones, spanned = inspector.memory_map.zones, inspector.memory_map.spanned
    small, grid = Grid(zones, fine, spanned), Grid(zones, order, spanned)

    def fresh() -> _Counted:
        return _Counted(BlockPages(small), FreeBlocks(len(zones)), Blockers(order), Blockers(order))

    def work(copy: Inspector, piece: Sequence[Range]) -> _Counted:
        found = fresh()
        for swept in sweep.walk(copy, piece, small):
            found.unreadable += swept.pages.unreadable
            _count_free(found.free, swept, small)
            _count(found, swept.where(swept.zones >= 0), sweep, grid, pfns=pfns)
        return found

    total = fresh()
    for part in fold(inspector, [*inspector.memory_map.spanned], work):
        total.merge(part)
    return total


def _count_free(free: FreeBlocks, swept: Swept, grid: Grid) -> None:
    pages = swept.pages
    begin, wanted = pages.head & (pages.use == USE["buddy"]), pages.batch.wanted
    heads = np.flatnonzero(begin if wanted is None else begin & wanted)
    zones = grid.zones_of(pages.node[heads], pages.zone[heads], pages.pfns[heads])
    free.add(zones[zones >= 0], pages.order[heads][zones >= 0])


def _count(found: _Counted, swept: Swept, sweep: Sweep, grid: Grid, *, pfns: bool) -> None:
    small = found.pages.grid
    found.pages.add(small.blocks(swept.zones, swept.starts), swept.classes, swept.lengths)
    blocks = grid.blocks(swept.zones, swept.starts)
    there, whole = _whole_blocks(blocks, swept, grid.order)
    way = (swept.classes == Mobility.RECLAIMABLE) | (swept.classes == Mobility.UNMOVABLE)
    some, blocks = swept.where(way), blocks[way]
    misplaced = _misplaced(sweep, some.starts)
    uses = some.pages.use[some.rows].astype(np.int64)
    for into, who, keys in (
        (found.owners, some.kinds.astype(np.int64), some.keys),
        (found.uses, uses, np.zeros(len(uses), np.uint64)),
    ):
        rows = in_the_way(blocks, who, keys, some.remedies, some.lengths, misplaced)
        into.add(rows, whole[np.searchsorted(there, rows.blocks)])
    if pfns:
        found.ranges.append(Assigned(some.starts, some.lengths, some.rows, some.kinds, some.keys))


def _whole_blocks(
    blocks: Integers, swept: Swept, order: int
) -> tuple[Integers, npt.NDArray[np.bool_]]:
    """Return the blocks of these pages, sorted, and which of them have no reserved pages."""
    there, at = grouped(blocks)
    usable = np.where(swept.classes == Mobility.RESERVED, 0, swept.lengths)
    return there, np.bincount(at, usable, len(there)) == 1 << order


def _misplaced(sweep: Sweep, pfns: Integers) -> npt.NDArray[np.bool_]:
    """Return which pages are in pageblocks for movable pages."""
    blocks = sweep.pageblocks
    if blocks is None or _MOVABLE not in blocks.names:
        return np.zeros(len(pfns), np.bool_)
    return blocks.of(pfns) == blocks.names.index(_MOVABLE)


@dataclass(slots=True)
class _BlockerRows:
    """Makes rows of owners."""

    sweep: Sweep
    ranges: OwnerRanges | None

    def by_owner(self, sums: BlockerSums) -> list[BlockerRow]:
        names: dict[tuple[int, int], str] = {}
        for number in np.unique(sums.who).tolist():
            keys = np.unique(sums.keys[sums.who == number]).tolist()
            found = self.sweep.finder.names.names(KINDS[number].name, keys)
            names |= {(number, key): name.name for key, name in zip(keys, found, strict=True)}
        ranges = {} if self.ranges is None else self.ranges.by_owner()
        rows: dict[tuple[str, str, str], list[BlockerRow]] = {}
        for number, key, rest in _each(sums):
            pfns = tuple(ranges.get((number, key), ()))
            row = BlockerRow(KINDS[number].name, names[number, key], *rest, pfns)
            rows.setdefault((row.kind, row.name, row.remedy), []).append(row)
        # Owners with the same name are one row.
        every = [joined(same) for same in rows.values()]
        return sorted(every, key=lambda row: (-row.alone, -row.blocks, -row.pages))


def _by_use(inspector: Inspector, sums: BlockerSums) -> Iterator[BlockerRow]:
    for use, _, rest in _each(sums):
        yield BlockerRow(use_name(inspector.layout, use), "", *rest, ())


def _each(sums: BlockerSums) -> Iterator[tuple[int, int, tuple[str, int, int, int, int]]]:
    columns = (sums.ways, sums.pages, sums.blocks, sums.alone, sums.misplaced)
    for number, key, way, *rest in zip(
        *(column.tolist() for column in (sums.who, sums.keys, *columns)), strict=True
    ):
        pages, blocks, alone, misplaced = rest
        yield number, key, (REMEDIES[way], pages, blocks, alone, misplaced)
