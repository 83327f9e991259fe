# SPDX-License-Identifier: GPL-2.0-only
"""Pages that several kinds of owners claim."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ..model.table import Column, Table
from ..owners.assign import Overlaps
from ..owners.table import KINDS

_COLUMNS = (Column("kind"), Column("other"), Column("pages", "int64", "pages"))


class Overlap(NamedTuple):
    """Pages of one kind that another kind claims as well."""

    kind: str
    other: str
    pages: int


def overlaps_of(overlaps: Overlaps) -> tuple[Overlap, ...]:
    """Return an Overlap for each pair of kinds that share pages."""
    return tuple(
        Overlap(KINDS[kind].name, KINDS[other].name, int(overlaps[kind, other]))
        for kind, other in np.argwhere(overlaps).tolist()
    )


def overlaps_table(overlaps: Iterable[Overlap]) -> Table:
    """Return the table with a row per pair of kinds."""
    return Table("overlaps", _COLUMNS, list(overlaps))
