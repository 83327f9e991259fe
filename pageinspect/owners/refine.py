# SPDX-License-Identifier: GPL-2.0-only
"""Finds the keys of pages that words of single struct pages lead to.

Pages of one run may differ in these words, because the words have another meaning in most pages:
to compare them would cut the page cache into single pages. Where pages of a run are single
allocations, their struct pages are read once more.
"""

from collections.abc import Callable
from functools import cache

import numpy as np

from ..classify.batches import Mask, Pfns
from ..classify.columns import ramp
from ..classify.uses import Pages
from ..model.allocations import Sites
from ..model.batch import Words
from ..model.layout import PageLayout
from .assign import Assigned
from .kind import Keys
from .large_kmalloc import LARGE_KMALLOC
from .signatures import signed
from .table import KINDS, NUMBER
from .unknown import UNKNOWN

ReadWords = Callable[[Pfns, Pfns], Words]
"""Returns the words of the struct pages in ranges of pfns, given as starts and ends,
(pages, words per struct page) uint64; zeros for unreadable ones."""

ReadSites = Callable[[Pfns, Keys], Sites]
"""Returns the sites of the allocations of pages, (n,) uint64; 0 for unknown ones. The arguments are
pfns and flags of their struct pages."""


def refined(
    pages: Pages, pieces: Assigned, read_words: ReadWords, read_sites: ReadSites | None = None
) -> Assigned:
    """Return the pieces with all keys, sorted by pfn; pieces whose pages differ are cut.

    `read_sites` is given if the kernel keeps who allocated pages.
    """
    if read_sites is not None:
        pieces = _with_sites(pages, pieces, read_sites)
    columns = _columns(pages.layout)[pieces.kinds]
    unknown = pieces.kinds == NUMBER[UNKNOWN.name]
    keyed = columns >= 0
    if not (keyed | unknown).any():
        return pieces
    single = (pages.folio_order[pieces.rows] == 0) & (pages.lengths[pieces.rows] > 1)
    whole, cut = pieces.where(keyed & ~single), pieces.where(keyed & single)
    whole = _with_keys(whole, _of_rows(pages, whole, columns[keyed & ~single]))
    words, cut_columns = read_words(cut.starts, cut.starts + cut.lengths), columns[keyed & single]
    apart = _each(cut)
    apart = _with_keys(apart, words[np.arange(len(words)), np.repeat(cut_columns, cut.lengths)])
    rest, some = pieces.where(~keyed & ~unknown), pieces.where(unknown)
    each = _each(some)
    words = read_words(some.starts, some.starts + some.lengths)
    flags = words[:, pages.layout.flags // 8]
    sites = None if read_sites is None else read_sites(each.starts, flags)
    each = signed(pages, each, words, sites)
    return _joined((rest, whole, apart, each))


def _with_sites(pages: Pages, pieces: Assigned, read_sites: ReadSites) -> Assigned:
    """Return the pieces with the sites of large allocations of kmalloc() as their keys."""
    large = pieces.kinds == NUMBER[LARGE_KMALLOC.name]
    if not large.any():
        return pieces
    some = pieces.where(large)
    flags = _of_rows(pages, some, np.full(len(some.rows), pages.layout.flags // 8))
    sites = read_sites(pages.heads[some.rows], flags)
    keys = pieces.keys.copy()
    keys[large] = np.where(sites != 0, sites, some.keys)
    return _with_keys(pieces, keys)


@cache
def _columns(layout: PageLayout) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return for each kind the index of the word with its key; -1 without one."""
    offsets = [getattr(layout, kind.member) if kind.member else None for kind in KINDS]
    return np.array([-1 if offset is None else offset // 8 for offset in offsets])


def _of_rows(pages: Pages, pieces: Assigned, columns: Pfns) -> Keys:
    """Return the words of the folios' heads, each of which is the first page of a row."""
    at = pages.heads[pieces.rows] - pages.batch.first
    inside = (at >= 0) & (at < pages.batch.size)
    rows = pages.batch.rows(np.where(inside, at, 0))
    return np.where(inside, pages.batch.words[rows, columns], np.uint64(0))


def _each(pieces: Assigned) -> Assigned:
    """Return the pieces cut into single pages."""
    n = pieces.lengths
    starts = np.repeat(pieces.starts, n) + ramp(n)
    each = pieces.where(np.repeat(np.arange(len(n)), n))
    return Assigned(starts, np.ones_like(starts), each.rows, each.kinds, each.keys)


def _with_keys(pieces: Assigned, keys: Keys) -> Assigned:
    return Assigned(pieces.starts, pieces.lengths, pieces.rows, pieces.kinds, keys)


def _joined(parts: tuple[Assigned, ...]) -> Assigned:
    every = Assigned(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Assigned.__slots__)
    )
    order: Mask | Pfns = np.argsort(every.starts, kind="stable")
    return every.where(order)
