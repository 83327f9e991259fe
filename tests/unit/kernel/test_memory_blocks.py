# SPDX-License-Identifier: GPL-2.0-only
"""Which pfns a memory block has."""

import pytest
from kernel_by_hand import Kernel

from pageinspect.kernel.memory_blocks import memory_block
from pageinspect.kernel.structures import MissingStructureError


def kernel_with(sections: int) -> Kernel:
    kernel = Kernel()
    kernel.variable("sections_per_block", kernel.uint, sections)
    return kernel


def test_a_block_has_whole_sections() -> None:
    assert memory_block(kernel_with(1).prog, 3) == (3 << 15, 4 << 15)
    assert memory_block(kernel_with(16).prog, 3) == (48 << 15, 64 << 15)


@pytest.mark.parametrize("sections", [0, 1 << 31])
def test_a_size_that_cannot_be(sections: int) -> None:
    with pytest.raises(MissingStructureError, match="impossible size"):
        memory_block(kernel_with(sections).prog, 3)


def test_a_kernel_without_memory_blocks() -> None:
    with pytest.raises(MissingStructureError, match="memory blocks"):
        memory_block(Kernel().prog, 3)
