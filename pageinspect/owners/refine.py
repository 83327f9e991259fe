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
from ..model.batch import Words
from ..model.layout import PageLayout
from .assign import Assigned
from .kind import Keys
from .signatures import signed
from .table import KINDS, NUMBER
from .unknown import UNKNOWN

ReadWords = Callable[[Pfns, Pfns], Words]
"""Returns the words of the struct pages in ranges of pfns, given as starts and ends,
(pages, words per struct page) uint64; zeros for unreadable ones."""


def refined(pages: Pages, pieces: Assigned, read_words: ReadWords) -> Assigned:
    """Return the pieces with all keys, sorted by pfn; pieces whose pages differ are cut."""
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
    each = signed(pages, each, read_words(some.starts, some.starts + some.lengths))
    return _joined((rest, whole, apart, each))


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
    rows, kinds, keys = (
        np.repeat(column, n) for column in (pieces.rows, pieces.kinds, pieces.keys)
    )
    return Assigned(starts, np.ones_like(starts), rows, kinds, keys)


def _with_keys(pieces: Assigned, keys: Keys) -> Assigned:
    return Assigned(pieces.starts, pieces.lengths, pieces.rows, pieces.kinds, keys)


def _joined(parts: tuple[Assigned, ...]) -> Assigned:
    every = Assigned(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in Assigned.__slots__)
    )
    order: Mask | Pfns = np.argsort(every.starts, kind="stable")
    return every.where(order)
