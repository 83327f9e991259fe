# SPDX-License-Identifier: GPL-2.0-only
"""Stacks that are stored once each, in memory made by hand."""

import pytest
from allocations_by_hand import depot, handle_of_stack
from kernel_by_hand import BASE, Kernel

from pageinspect.kernel.stack_depot import StackDepot
from pageinspect.kernel.structures import MissingStructureError

FRAMES = (0xFFFFFFFF81000010, 0xFFFFFFFF81000020, 0xFFFFFFFF81000030)
FORMS = [
    pytest.param("slabindex", False, id="up to 6.2"),
    pytest.param("pool_index", False, id="up to 6.8"),
    pytest.param("pool_index", True, id="stable 6.8"),
    pytest.param("pool_index_plus_1", True, id="from 6.9 on"),
]


@pytest.mark.parametrize(("index", "plus_1"), FORMS)
def test_frames_of_a_handle(index: str, *, plus_1: bool) -> None:
    kernel = Kernel()
    depot(kernel, {0: FRAMES, 100: FRAMES[:1]}, index, plus_1=plus_1)
    stacks = StackDepot(kernel.prog)
    first, second, third = (handle_of_stack(place, plus_1=plus_1) for place in (0, 100, 7))
    assert stacks.frames(first) == FRAMES
    assert stacks.frames(second) == FRAMES[:1]
    assert stacks.frames(second | 0b10101 << 27) == FRAMES[:1]
    assert stacks.frames(third) is None
    assert stacks.frames(0xFFFFFFFF) is None
    assert stacks.frames(0) is None


def test_pools_that_were_allocated() -> None:
    kernel = Kernel()
    depot(kernel, {4: FRAMES}, "pool_index_plus_1", plus_1=True)
    pools = kernel.prog["stack_pools"].address_
    kernel.variable("stack_pools", kernel.ulong, pools)
    kernel.variable("stack_max_pools", kernel.uint, 4)
    assert StackDepot(kernel.prog).frames(handle_of_stack(4, plus_1=True)) == FRAMES
    kernel.variable("stack_pools", kernel.ulong, BASE + (1 << 40))
    assert StackDepot(kernel.prog).frames(handle_of_stack(4, plus_1=True)) is None


def test_a_stack_with_too_many_frames() -> None:
    kernel = Kernel()
    depot(kernel, {0: FRAMES}, "pool_index_plus_1", plus_1=True)
    pool = kernel.prog["stack_pools"][1].value_()
    record = kernel.prog.type("struct stack_record")
    kernel.set(record, pool, "size", 257)
    assert StackDepot(kernel.prog).frames(handle_of_stack(0, plus_1=True)) is None


def test_a_kernel_without_stacks() -> None:
    with pytest.raises(MissingStructureError, match="stack depot"):
        StackDepot(Kernel().prog)
