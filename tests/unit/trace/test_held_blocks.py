# SPDX-License-Identifier: GPL-2.0-only
"""Blocks that were allocated and not freed, as arrays."""

from dataclasses import replace

import numpy as np
import pytest
from held_by_hand import SECOND, blocks, pairs
from synthetic import MODERN

from pageinspect.trace.held_blocks import (
    COUNTS,
    HELD,
    ORDER_BITS,
    STACK_BITS,
    HeldBlocks,
    HeldCounts,
    HeldOptions,
    page_base,
)
from pageinspect.trace.options import Filters


def test_keys_are_pfn_and_order() -> None:
    held = blocks((7, 0, {}), (0x100000, 10, {}), (8, 3, {"freed": 5}))
    assert pairs(held) == [(7, 0), (8, 3), (0x100000, 10)]
    assert held.pages.tolist() == [1, 3, 1024]


def test_the_program_of_one_boot_serves_the_next() -> None:
    aligned = replace(MODERN, vmemmap=0xFFFF_EA00_4000_0000)
    assert page_base(aligned) == 0
    assert page_base(replace(aligned, vmemmap=0xFFFF_EA00_4000_0040)) == 0xFFFF_EA00_4000_0040
    odd = replace(aligned, struct_size=80, vmemmap=(80 << 10) << 20)
    assert page_base(odd) == odd.vmemmap
    first = aligned.vmemmap // aligned.struct_size
    keys = np.array([(first + 7) << ORDER_BITS | 3], np.uint64)
    assert pairs(HeldBlocks.of(keys, np.zeros(1, HELD), first)) == [(7, 3)]


def test_a_caller_that_was_found_has_a_number_of_its_own() -> None:
    held = blocks(
        *((1, 0, {"stack": 7}), (2, 0, {"stack": -1})),
        *((3, 0, {"stack": -1, "caller": 0x1234}), (4, 0, {"stack": -1, "caller": -5})),
    )
    assert held.callers.tolist() == [7, -1, 0x1234 << STACK_BITS, -5 << STACK_BITS]


def test_a_key_that_a_batch_read_twice_is_one_block() -> None:
    assert pairs(blocks((7, 0, {}), (7, 0, {}))) == [(7, 0)]


def test_pages_that_a_caller_of_the_bulk_allocator_had_are_not_of_the_trace() -> None:
    bulk, before = {"migratetype": -1}, {"migratetype": -2}
    held = blocks((1, 0, {}), (2, 0, bulk), (3, 0, before), (4, 0, bulk), (9, 0, bulk))
    assert pairs(held.passing(Filters())) == [(1, 0), (2, 0), (4, 0), (9, 0)]
    # The program itself has left out single allocations of other pages.
    chosen = held.passing(Filters(pfns=((8, 9), (2, 4))))
    assert pairs(chosen) == [(1, 0), (2, 0)]


def test_a_block_whose_page_was_allocated_again_is_overtaken() -> None:
    early, late = {"time_ns": SECOND}, {"time_ns": 2 * SECOND}
    held = blocks((8, 3, early), (9, 0, late), (16, 1, late), (17, 0, early), (32, 0, early))
    assert pairs(held, held.overtaken().tolist()) == [(8, 3), (17, 0)]


def test_a_block_that_was_freed_in_part_is_not_overtaken() -> None:
    held = blocks((8, 3, {"time_ns": SECOND, "freed": 1}), (9, 0, {"time_ns": 2 * SECOND}))
    assert not held.overtaken().any()


def test_a_page_is_of_its_smallest_block() -> None:
    held = blocks((8, 2, {"freed": 1}), (9, 0, {}), (3, 0, {}))
    pfns, of_block = held.each_page()
    assert pfns.tolist() == [3, 8, 9, 10, 11]
    assert [pairs(held)[i] for i in of_block.tolist()] == [(3, 0), (8, 2), (9, 0), (8, 2), (8, 2)]


def test_no_block_has_no_page() -> None:
    held = blocks()
    assert not held.overtaken().any()
    assert [len(each) for each in held.each_page()] == [0, 0]


def test_counts_are_read_in_the_order_of_the_structure() -> None:
    counts = HeldCounts.of(np.arange(COUNTS, dtype=np.uint64))
    assert (counts.allocations, counts.allocated_pages, counts.stacks) == (0, 1, COUNTS - 1)


@pytest.mark.parametrize(
    ("by", "depth", "comm"),
    [
        (("caller",), 16, False),
        (("stack", "caller"), 127, False),
        (("comm",), 0, True),
        (("order", "pid"), 0, False),
    ],
)
def test_only_what_is_grouped_by_is_recorded(by: tuple[str, ...], depth: int, comm: bool) -> None:
    defines = HeldOptions(Filters(pid=3), by, most=5).defines(MODERN)
    assert defines["MOST_HELD"] == "5"
    assert defines["ONLY_PID"] == "3"
    assert defines.get("STACK_DEPTH", "0") == str(depth)
    assert ("BY_COMM" in defines) == comm
