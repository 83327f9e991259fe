# SPDX-License-Identifier: GPL-2.0-only
"""Reads which memory blocks there are, the units in which memory is taken online and offline."""

from dataclasses import dataclass

import numpy as np
from drgn import FaultError, Program

from ..model.arch import SECTION_PFNS
from ..model.ranges import Range, merge
from ..target.vmcoreinfo import MAX_SECTIONS
from .online import sections_with_pages
from .structures import MissingStructureError, read_variable, require_structure


@dataclass(frozen=True, slots=True)
class MemoryBlocks:
    """The directories memoryN in /sys/devices/system/memory."""

    size: int
    """pfns of each block."""
    numbers: tuple[Range, ...]
    """The numbers N of blocks with struct pages, online or offline: sorted, end exclusive."""

    def pfns(self, number: int) -> Range | None:
        """Return the pfns of a block; None if this machine does not have it."""
        if not any(start <= number < end for start, end in self.numbers):
            return None
        return number * self.size, (number + 1) * self.size


def read_memory_blocks(prog: Program) -> MemoryBlocks:
    """Return the memory blocks. Raises MissingStructureError."""
    with require_structure("memory blocks"):
        try:
            sections = read_variable(prog, "sections_per_block")
            firsts, _ = sections_with_pages(prog)
        except FaultError as error:
            raise MissingStructureError(f"memory blocks: {error}", "") from None
    if not 0 < sections <= MAX_SECTIONS:
        raise MissingStructureError(f"memory blocks have an impossible size: {sections}", "")
    size = sections * SECTION_PFNS
    numbers = np.unique(firsts // size).tolist()
    return MemoryBlocks(size, tuple(merge((n, n + 1) for n in numbers)))
