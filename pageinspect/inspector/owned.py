# SPDX-License-Identifier: GPL-2.0-only
"""Finds the pages of given owners, for --owner."""

from collections.abc import Sequence

import numpy as np

from ..model.ranges import Range
from ..owners.assign import Assigned
from ..owners.counts import ranges_of
from ..owners.kind import Keys
from ..report.owner_choice import asked_owners, choose
from .fold import Fold
from .inspector import Inspector
from .owner_finder import owner_finder


def owned_ranges(
    inspector: Inspector, wanted: Sequence[Range], owners: Sequence[str], fold: Fold
) -> tuple[list[Range], dict[int, Keys], tuple[str, ...]]:
    """Return the wanted pfns that belong to the owners, and sentences about what is missing.

    The dictionary has the keys of the owners by the number of their kind.

    Owners are given as KIND or KIND:NAME, where * in NAME stands for any text. Raises UsageError
    for one that does not exist, and PageInspectError.
    """
    asked = asked_owners(inspector.layout, owners)
    finder = owner_finder(inspector)

    def work(copy: Inspector, piece: Sequence[Range]) -> list[Assigned]:
        assigner = finder.assigner(copy.layout)
        parts = (pieces for _, pieces in finder.walk(copy, piece, assigner))
        return [pieces.where(np.isin(pieces.kinds, list(asked))) for pieces in parts]

    found = ranges_of(part for parts in fold(inspector, wanted, work) for part in parts)
    mask, keys = choose(found, asked, finder.names)
    return found.of(mask), keys, finder.problems
