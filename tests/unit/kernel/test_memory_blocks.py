# SPDX-License-Identifier: GPL-2.0-only
"""Which memory blocks there are, and which pfns they have."""

import numpy as np
import pytest
from kernel_by_hand import Kernel

from pageinspect.kernel import memory_blocks
from pageinspect.kernel.memory_blocks import read_memory_blocks
from pageinspect.kernel.structures import MissingStructureError

SECTIONS = (0, 1, 2, 3, 8, 9, 17)


def kernel_with(sections: int) -> Kernel:
    kernel = Kernel()
    kernel.variable("sections_per_block", kernel.uint, sections)
    return kernel


@pytest.fixture(autouse=True)
def present(monkeypatch: pytest.MonkeyPatch) -> None:
    firsts = np.array(SECTIONS, np.int64) << 15
    monkeypatch.setattr(memory_blocks, "sections_with_pages", lambda _: (firsts, None))


def test_a_block_has_whole_sections() -> None:
    one, four = (read_memory_blocks(kernel_with(n).prog) for n in (1, 4))
    assert (one.size, one.numbers) == (1 << 15, ((0, 4), (8, 10), (17, 18)))
    assert one.pfns(3) == (3 << 15, 4 << 15)
    # A block of which only some sections have struct pages.
    assert (four.size, four.numbers) == (4 << 15, ((0, 1), (2, 3), (4, 5)))
    assert four.pfns(4) == (16 << 15, 20 << 15)


@pytest.mark.parametrize("number", [4, 7, 10, 18, 1 << 40])
def test_a_block_that_is_not_there(number: int) -> None:
    assert read_memory_blocks(kernel_with(1).prog).pfns(number) is None


@pytest.mark.parametrize("sections", [0, 1 << 31])
def test_a_size_that_cannot_be(sections: int) -> None:
    with pytest.raises(MissingStructureError, match="impossible size"):
        read_memory_blocks(kernel_with(sections).prog)


def test_a_kernel_without_memory_blocks() -> None:
    with pytest.raises(MissingStructureError, match="memory blocks"):
        read_memory_blocks(Kernel().prog)
