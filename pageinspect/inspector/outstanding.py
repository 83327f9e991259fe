# SPDX-License-Identifier: GPL-2.0-only
"""Finds what outstanding pages of a trace are now, for trace --outstanding."""

import numpy as np

from ..model.arch import SECTION_PFNS
from ..model.ranges import merge
from ..owners.table import NUMBER
from ..report.outstanding_rows import PageOwners
from ..target.open import Target
from ..trace.held_blocks import HeldBlocks
from .inspector import inspect
from .owner_finder import OwnerFinder, owner_finder


def owners_of(target: Target, blocks: HeldBlocks) -> tuple[PageOwners, OwnerFinder]:
    """Return the owner of each page of the blocks at this moment, and what finds their names.

    Raises PageInspectError.
    """
    inspector = inspect(target)
    finder = owner_finder(inspector)
    pfns, of_block = blocks.each_page()
    kinds = np.full(len(pfns), NUMBER["unreadable"], np.int16)
    keys = np.zeros(len(pfns), np.uint64)
    sections = np.unique(pfns // SECTION_PFNS) * SECTION_PFNS
    wanted = merge((first, first + SECTION_PFNS) for first in sections.tolist())
    for _pages, pieces in finder.walk(inspector, wanted, finder.assigner(inspector.layout)):
        if not len(pieces.starts):
            continue
        first, end = pieces.starts[0], pieces.starts[-1] + pieces.lengths[-1]
        low, high = np.searchsorted(pfns, (first, end))
        piece = np.searchsorted(pieces.starts, pfns[low:high], "right") - 1
        inside = pfns[low:high] < (pieces.starts + pieces.lengths)[piece]
        kinds[low:high][inside] = pieces.kinds[piece[inside]]
        keys[low:high][inside] = pieces.keys[piece[inside]]
    return PageOwners(of_block, kinds, keys, finder.names.names), finder
