# SPDX-License-Identifier: GPL-2.0-only
"""Finds how contiguous memory is, and what keeps blocks of it from being free."""

from collections.abc import Sequence

from ..model.ranges import Range
from ..report.base import Coverage, coverage_of
from ..report.contiguity import ContiguityReport
from ..report.contiguity_counts import ContiguityCounter, ContiguityCounts
from .fold import Fold
from .inspector import Inspector
from .lost_pages import with_pointer
from .sweep import Sweep


def find_contiguity(
    inspector: Inspector,
    *,
    fold: Fold,
    order: int | None = None,
    top: int | None = None,
    pfns: bool = True,
) -> ContiguityReport:
    """Count the blocks of each zone by what is in them, and rank what is in the way.

    Without `order`, blocks are pageblocks and 1 GiB. `top` is the number of blockers to show, and
    `pfns` whether their pages are listed. Raises PageInspectError.
    """
    sweep = Sweep(inspector)
    counter = ContiguityCounter(inspector.memory_map, sweep.pageblocks, order, pfns=pfns)

    def work(copy: Inspector, piece: Sequence[Range]) -> ContiguityCounts:
        found = counter.fresh()
        for swept in sweep.walk(copy, piece, counter.small):
            counter.add(found, swept)
        return found

    total = counter.fresh()
    for part in fold(inspector, [*inspector.memory_map.spanned], work):
        total.merge(part)

    def coverage() -> Coverage:
        found = coverage_of(
            inspector.target.provenance,
            inspector.layout,
            inspector.memory_map.spanned_pages,
            total.unreadable,
            tuple(dict.fromkeys(sweep.problems)),
        )
        return with_pointer(inspector, found)

    names, provenance = sweep.finder.names, inspector.target.provenance
    return counter.report(total, names, provenance, inspector.layout, coverage, top)
