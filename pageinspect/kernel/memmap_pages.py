# SPDX-License-Identifier: GPL-2.0-only
"""Finds the pages that contain struct pages, by the kernel's page tables.

With hugetlb vmemmap optimization (HVO), several virtual pages of the vmemmap share one page. It is
listed once, as the kernel counts it.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from drgn import FaultError

from ..model.arch import LARGE_PAGE_SIZE, PAGE_SHIFT, PAGE_SIZE, SECTION_PFNS
from ..model.kernel_memory import MemmapPages, Pfns
from ..model.layout import PageLayout
from ..model.ranges import Range, merge
from ..target.page_tables import PageTables
from ..target.vmcoreinfo import MAX_SECTIONS

_PER_LEAF = LARGE_PAGE_SIZE // PAGE_SIZE
_MERGE_AT = 1 << 16
"""Number of runs of pages at which they are merged."""


def read_memmap_pages(
    tables: PageTables, layout: PageLayout, spanned: Iterable[Range]
) -> MemmapPages:
    """Return the pages with struct pages of all memory sections that contain these pfns.

    All struct pages of a section are mapped, also those of pfns without memory. A section without
    struct pages is not an error: nothing is mapped there.
    """
    runs: list[Range] = []
    unreadable = 0
    for first, end in _virtual(layout, spanned):
        try:
            frames = tables.frames(first, end)
        except FaultError:
            unreadable += end - first
            continue
        runs += _runs(frames[frames >= 0] >> PAGE_SHIFT)
        if len(runs) > _MERGE_AT:
            runs = merge(runs)
    return MemmapPages(tuple(merge(runs)), not unreadable, unreadable)


def _virtual(layout: PageLayout, spanned: Iterable[Range]) -> Iterator[Range]:
    """Yield ranges of virtual pages of the vmemmap, each within one PTE table."""
    most = MAX_SECTIONS * SECTION_PFNS
    sections = merge(
        (start // SECTION_PFNS * SECTION_PFNS, -(-min(end, most) // SECTION_PFNS) * SECTION_PFNS)
        for start, end in spanned
    )
    pages = merge(
        (
            (layout.vmemmap + start * layout.struct_size) // PAGE_SIZE,
            -(-(layout.vmemmap + end * layout.struct_size) // PAGE_SIZE),
        )
        for start, end in sections
    )
    for start, end in pages:
        for leaf in range(start // _PER_LEAF, -(-end // _PER_LEAF)):
            yield max(start, leaf * _PER_LEAF), min(end, (leaf + 1) * _PER_LEAF)


def _runs(pfns: Pfns) -> list[Range]:
    """Return pfns as sorted disjoint ranges."""
    if not len(pfns):
        return []
    pfns = np.unique(pfns)
    cuts = np.flatnonzero(np.diff(pfns) != 1) + 1
    starts = pfns[np.concatenate(([0], cuts))]
    ends = pfns[np.concatenate((cuts, [len(pfns)])) - 1] + 1
    return list(zip(starts.tolist(), ends.tolist(), strict=True))
