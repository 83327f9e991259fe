# SPDX-License-Identifier: GPL-2.0-only
"""Finds the pages that contain struct pages, by the kernel's page tables.

With hugetlb vmemmap optimization (HVO), several virtual pages of the vmemmap share one page. It is
listed once, as the kernel counts it.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from drgn import FaultError

from ..model.allocations import PageExt
from ..model.arch import ADDRESSES_OF_KERNEL, LARGE_PAGE_SIZE, PAGE_SHIFT, PAGE_SIZE, SECTION_PFNS
from ..model.kernel_memory import MemmapPages, Pfns
from ..model.layout import PageLayout
from ..model.ranges import Range, merge
from ..target.page_tables import PageTables
from ..target.vmcoreinfo import MAX_SECTIONS

_PER_LEAF = LARGE_PAGE_SIZE // PAGE_SIZE
_MERGE_AT = 1 << 16
"""Number of runs of pages at which they are merged."""


def read_memmap_pages(
    tables: PageTables, layout: PageLayout, spanned: Iterable[Range], ext: PageExt | None = None
) -> MemmapPages:
    """Return the pages with struct pages of all memory sections that contain these pfns.

    All struct pages of a section are mapped, also those of pfns without memory. A section without
    struct pages is not an error: nothing is mapped there. `ext` are the records of page_owner and
    of allocation tags.
    """
    pages, unreadable = _mapped(tables, _virtual(layout, spanned))
    extensions: list[Range] = []
    if ext is not None:
        extensions, more = _mapped(tables, _of_records(ext))
        unreadable += more
    return MemmapPages(tuple(pages), not unreadable, unreadable, tuple(extensions))


def _mapped(tables: PageTables, virtual: Iterable[Range]) -> tuple[list[Range], int]:
    """Return the pfns of ranges of virtual pages, and the number of those that are unreadable."""
    runs: list[Range] = []
    unreadable = 0
    for first, end in virtual:
        try:
            frames = tables.frames(first, end)
        except FaultError:
            unreadable += end - first
            continue
        runs += _runs(frames[frames >= 0] >> PAGE_SHIFT)
        if len(runs) > _MERGE_AT:
            runs = merge(runs)
    return merge(runs), unreadable


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
    yield from _by_leaf(pages)


def _of_records(ext: PageExt) -> Iterator[Range]:
    """Yield ranges of virtual pages of all records, each within one PTE table."""
    size = ext.record.itemsize
    starts = ext.bases + ext.firsts.astype(np.uint64) * np.uint64(size)
    for start in starts[starts >= np.uint64(ADDRESSES_OF_KERNEL)].tolist():
        end = min(start + size * SECTION_PFNS, 1 << 64)
        yield from _by_leaf([(start // PAGE_SIZE, -(-end // PAGE_SIZE))])


def _by_leaf(pages: Iterable[Range]) -> Iterator[Range]:
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
