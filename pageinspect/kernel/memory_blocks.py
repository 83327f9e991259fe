# SPDX-License-Identifier: GPL-2.0-only
"""Reads the size of memory blocks, the units in which memory is taken online and offline."""

from drgn import FaultError, Program

from ..model.arch import SECTION_PFNS
from ..model.ranges import Range
from ..target.vmcoreinfo import MAX_SECTIONS
from .structures import MissingStructureError, read_variable, require_structure


def memory_block(prog: Program, number: int) -> Range:
    """Return the pfns of /sys/devices/system/memory/memoryN, whether or not it exists.

    Raises MissingStructureError.
    """
    with require_structure("memory blocks"):
        try:
            sections = read_variable(prog, "sections_per_block")
        except FaultError as error:
            raise MissingStructureError(f"memory blocks: {error}", "") from None
    if not 0 < sections <= MAX_SECTIONS:
        raise MissingStructureError(f"memory blocks have an impossible size: {sections}", "")
    size = sections * SECTION_PFNS
    return number * size, (number + 1) * size
