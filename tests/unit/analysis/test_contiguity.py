# SPDX-License-Identifier: GPL-2.0-only
"""Blocks of zones by what is in them, and the kernel's indexes of free memory."""

import numpy as np
import pytest

from pageinspect.analysis.contiguity import (
    ABSENT,
    BlockPages,
    FreeBlocks,
    Grid,
    Spread,
    cut,
    free_indexes,
    spread,
    type_blocks,
    zone_blocks,
)
from pageinspect.analysis.mobility import Mobility
from pageinspect.model.memory_map import Zone

# The first zone begins within a block of 16, and shares a block with the second.
ZONES = (Zone(0, "DMA", 1, 40, 0), Zone(0, "DMA32", 40, 96, 1), Zone(2, "Normal", 96, 128, 2))

ALL = [(0, 128)]


def test_ranges_are_cut_at_blocks() -> None:
    parts = cut(np.array([3, 16, 70]), np.array([40, 16, 1]), 4)
    assert parts.rows.tolist() == [0, 0, 0, 1, 2]
    assert parts.starts.tolist() == [3, 16, 32, 16, 70]
    assert parts.lengths.tolist() == [13, 16, 11, 16, 1]
    nothing = cut(np.empty(0, np.int64), np.empty(0, np.int64), 4)
    assert len(nothing.starts) == 0


def test_blocks_are_numbered_zone_after_zone() -> None:
    grid = Grid(ZONES, 4, ALL)
    assert grid.bounds.tolist() == [0, 3, 7, 9]
    zones = np.array([0, 0, 1, 1, 2])
    pfns = np.array([1, 39, 40, 95, 127])
    blocks = grid.blocks(zones, pfns)
    assert blocks.tolist() == [0, 2, 3, 6, 8]
    assert grid.zone_of(blocks).tolist() == zones.tolist()
    assert grid.starts(blocks).tolist() == [0, 32, 32, 80, 112]


def test_holes_have_no_blocks() -> None:
    # Two zones of an interleaved span, and a hole of 16 TiB.
    far = 1 << 32
    zones = (Zone(0, "Normal", 0, far + 64, 0), Zone(1, "Normal", 32, 96, 0))
    grid = Grid(zones, 4, [(0, 20), (24, 48), (80, 96), (far + 8, far + 64)])
    # Blocks 0-2, 5, and 4 of those far away; 2 and 5.
    assert grid.bounds.tolist() == [0, 8, 10]
    blocks = grid.blocks(np.array([0, 0, 0, 0, 1, 1]), np.array([5, 47, 80, far + 63, 40, 95]))
    assert blocks.tolist() == [0, 2, 3, 7, 8, 9]
    assert grid.starts(np.arange(10)).tolist() == [
        *(0, 16, 32, 80),
        *(far, far + 16, far + 32, far + 48),
        *(32, 80),
    ]
    assert grid.zone_of(np.arange(10)).tolist() == [0] * 8 + [1] * 2
    pages = BlockPages(grid)
    pages.add(np.array([3, 7, 8]), np.array([0, 0, 1], np.uint8), np.array([16, 16, 1]))
    larger = pages.joined(6)
    assert larger.counts[:, 0].tolist() == [0, 16, 16, 0, 0]
    assert larger.counts[:, 1].tolist() == [0, 0, 0, 1, 0]


def test_the_zone_of_a_page_is_that_of_its_flags_if_it_spans_the_page() -> None:
    grid = Grid(ZONES, 4, ALL)
    nodes = np.array([0, 0, 0, 2, 2, 7, 0], np.uint16)
    numbers = np.array([0, 1, 2, 2, 2, 0, 7], np.uint8)
    pfns = np.array([5, 5, 100, 100, 128, 5, 5])
    assert grid.zones_of(nodes, numbers, pfns).tolist() == [0, -1, -1, 2, -1, -1, -1]
    none = Grid((), 4, ALL)
    assert len(none) == 0
    assert none.zones_of(nodes, numbers, pfns).tolist() == [-1] * 7


def filled() -> BlockPages:
    """Return pages of a zone of eight blocks of 16 pages."""
    pages = BlockPages(Grid((Zone(0, "Normal", 0, 128),), 4, ALL))
    free, movable, reclaimable, unmovable, reserved = range(5)
    for block, *parts in (
        (0, (free, 16)),
        (1, (free, 12), (movable, 4)),
        (2, (movable, 15), (reclaimable, 1)),
        (3, (free, 10), (reclaimable, 2), (unmovable, 4)),
        (4, (unmovable, 15), (reserved, 1)),
        # Pages without a struct page.
        (5, (free, 15)),
        (6, (free, 8), (free, 8)),
    ):
        for mobility, n in parts:
            pages.add(np.array([block]), np.array([mobility], np.uint8), np.array([n]))
    return pages


def test_a_block_has_the_state_of_its_worst_page() -> None:
    assert filled().states.tolist() == [
        Mobility.FREE,
        Mobility.MOVABLE,
        Mobility.RECLAIMABLE,
        Mobility.UNMOVABLE,
        Mobility.RESERVED,
        Mobility.RESERVED,
        Mobility.FREE,
        ABSENT,
    ]
    (zone,) = zone_blocks(filled())
    assert (zone.node, zone.zone, zone.order, zone.blocks) == (0, "Normal", 4, 7)
    states = (zone.free, zone.movable, zone.reclaimable, zone.unmovable, zone.reserved)
    assert states == (2, 1, 1, 1, 2)
    assert sum(states) == zone.blocks
    # Block 4 has unmovable pages, and is reserved.
    assert zone.with_unmovable == 2
    assert zone.unmovable_share == pytest.approx(100 * 2 / 7)
    assert zone.unmovable_pages == Spread(0, 15, 15)
    assert zone.free_pages == Spread(12, 16, 16)
    assert zone.movable_pages == Spread(0, 15, 15)


def test_larger_blocks_are_made_of_smaller_ones() -> None:
    pages = filled().joined(5)
    assert pages.states.tolist() == [
        Mobility.MOVABLE,
        Mobility.UNMOVABLE,
        Mobility.RESERVED,
        Mobility.RESERVED,
    ]
    assert pages.counts.sum() == filled().counts.sum()
    of_all = BlockPages(Grid(ZONES, 4, ALL))
    of_all.add(np.array([2, 3, 3, 7]), np.array([0, 1, 3, 2], np.uint8), np.array([8, 4, 4, 16]))
    # Blocks of two zones stay apart, though they are of the same pfns.
    larger = of_all.joined(6)
    assert larger.grid.bounds.tolist() == [0, 1, 3, 4]
    assert larger.counts[:, :4].tolist() == [[8, 0, 0, 0], [0, 4, 0, 4], [0] * 4, [0, 0, 16, 0]]


def test_parts_of_a_walk_add_up() -> None:
    one, other = filled(), filled()
    one.merge(other)
    assert (one.counts == 2 * filled().counts).all()
    free = FreeBlocks(2)
    free.add(np.array([1, 1, 0]), np.array([3, 3, 10], np.uint8), np.array([1, 4, 1]))
    more = FreeBlocks(2)
    more.add(np.array([1]), np.array([0], np.uint8), np.array([1]))
    free.merge(more)
    assert free.counts[1].tolist() == [1, 0, 0, 5, *[0] * 7]
    assert free.counts[0].tolist() == [*[0] * 10, 1]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([], (0, 0, 0)),
        ([7], (7, 7, 7)),
        ([4, 1], (1, 4, 4)),
        (range(1, 101), (50, 99, 100)),
        (range(1, 201), (100, 198, 200)),
        ([0] * 99 + [512], (0, 0, 512)),
        ([0] * 98 + [5, 512], (0, 5, 512)),
    ],
)
def test_percentiles_are_by_nearest_rank(numbers, expected: tuple[int, int, int]) -> None:
    assert spread(np.array([*numbers], np.uint16)) == Spread(*expected)


# Free blocks by order of /proc/buddyinfo, and what mm/vmstat.c computes of them by hand.
FRAGMENTED = [1000, 500, 250, 0, 0, 0, 0, 0, 0, 0, 0]


def test_the_indexes_are_those_of_the_kernel() -> None:
    zone = Zone(1, "Normal", 0, 1 << 20)
    rows = free_indexes(zone, FRAGMENTED)
    assert [(row.node, row.zone, row.order) for row in rows] == [
        (1, "Normal", i) for i in range(11)
    ]
    assert [row.free_blocks for row in rows] == FRAGMENTED
    # 3000 pages in 1750 blocks. Order 2: 250 blocks of 4 pages are enough; 2000 pages are not.
    assert [row.fragmentation for row in rows[:3]] == [-1000] * 3
    assert [row.unusable for row in rows[:4]] == [0, 333, 666, 1000]
    # Order 3: 1000 - (1000 + 3000000 / 8) / 1750; order 9: 1000 - (1000 + 5859) / 1750.
    assert rows[3].fragmentation == 1000 - 376000 // 1750 == 786
    assert rows[9].fragmentation == 1000 - 6859 // 1750 == 997
    # Two pages are too few for a block of 512: the lack is of memory.
    few = free_indexes(zone, [2, *[0] * 10])
    assert few[9].fragmentation == 1000 - (1000 + 2000 // 512) // 2 == 499
    none = free_indexes(zone, [0] * 11)
    assert {(row.fragmentation, row.unusable) for row in none} == {(0, 1000)}


def test_migratetypes() -> None:
    types = np.array([1, 1, 1, 0, 0, 0xFF, 1, 1], np.uint8)
    unmovable, movable, isolate = type_blocks(filled(), types, ("unmovable", "movable", "isolate"))
    assert (unmovable.type, unmovable.blocks, unmovable.pages) == (
        "unmovable",
        2,
        (10, 0, 2, 19, 1),
    )
    # The last block has no pages.
    assert (movable.blocks, movable.pages) == (4, (44, 19, 1, 0, 0))
    assert (isolate.blocks, sum(isolate.pages)) == (0, 0)
