# SPDX-License-Identifier: GPL-2.0-only
"""Reads declared values from struct pages: the page's own, or that of its folio's head."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..model.arch import SECTION_PFNS
from ..model.batch import FolioHeads, Words
from ..model.layout import PageLayout
from ..model.memory_map import MemoryMap
from .batches import Batch, Mask, Pfns, RunBatch
from .reads import Bits, Places, Read, Scoped, column
from .words import LINK, flag_bit

T = TypeVar("T")


class Rows(Scoped, ABC):
    """The struct pages of a batch: one row per page, or per run of a RunBatch.

    `heads` is the result of head_pfns(), `outside` that of outside_heads(), and `outer` has the
    struct pages of the heads in `outside`, in the same order.
    """

    def __init__(
        self,
        layout: PageLayout,
        memory_map: MemoryMap,
        batch: Batch,
        heads: Pfns,
        outside: Pfns,
        outer: FolioHeads,
    ) -> None:
        runs = batch.scope if isinstance(batch, RunBatch) else None
        super().__init__(runs)
        self._places = Places(layout) if runs is None else runs.places
        self.layout = layout
        self.memory_map = memory_map
        self.batch = batch
        self._heads = heads
        self._outside = outside
        self._outer = outer
        self._of_heads: dict[int, Words] = {}

    def __len__(self) -> int:
        return len(self.batch)

    @cached_property
    def pfns(self) -> Pfns:
        """The first pfn of each row."""
        return self.batch.pfns

    @cached_property
    def lengths(self) -> Pfns:
        """The number of pages of each row: 1 unless rows are runs."""
        return self.batch.lengths

    @property
    def wanted(self) -> Mask | None:
        """Whether the pfns of each row are wanted; None means that all are."""
        return self.batch.wanted

    @property
    def readable(self) -> Mask | None:
        """Whether each struct page could be read; None means that all could."""
        return self.batch.readable

    def count(self, rows: Mask) -> int:
        """Return how many pages there are in these rows."""
        return int(self.lengths[rows].sum())

    # --- reading struct pages

    def read(self, read: Read[T], rows: Pfns | None = None) -> T:
        """Return the value of a Read for every row, (n,), or for these rows, (k,).

        A Read of first pages of free blocks has one value per entry of `buddy_heads`, and `rows`
        are indices into it. Raises UndeclaredError for a read that is not declared.
        """
        if self.scope is not None:
            self.scope.check(read)
        bits = self._places[read][0]
        if read.of == "folio":
            words = self._of_head(bits)
        else:
            words = self._words(self.batch, bits)
            if bits.only == "blocks":
                blocks = self._begin_blocks()
                rows = blocks if rows is None else blocks[rows]
        return read.value(self.layout, bits, words if rows is None else words[rows])

    def _words(self, source: Batch | FolioHeads, bits: Bits) -> Words:
        """Return the words that contain these bits, (n,) uint64."""
        if bits.missing:
            return np.zeros(len(source), np.uint64)
        words = source.word(bits.offset)
        if bits.offset >= self.layout.struct_size:
            words = np.where(self._heads_of(source), words, np.uint64(0))
        return words

    @abstractmethod
    def _begin_blocks(self) -> Pfns:
        """Return the rows of the first pages of free blocks."""

    def _of_head(self, bits: Bits) -> Words:
        """Return the words that contain these bits, from the head of each page's folio."""
        key = -1 if bits.missing else bits.offset
        if key not in self._of_heads:
            own, outer = self._words(self.batch, bits), self._words(self._outer, bits)
            self._of_heads[key] = self._from_heads(own, outer)
        return self._of_heads[key]

    def _of(self, source: Batch | FolioHeads, read: Read[T]) -> T:
        """Return the value of a Read for the pages of the batch, or for heads outside it."""
        if self.scope is not None:
            self.scope.check(read)
        bits = self._places[read][0]
        return read.value(self.layout, bits, self._words(source, bits))

    def _heads_of(self, source: Batch | FolioHeads) -> Mask:
        """Return which struct pages have PG_head."""
        bit = self.layout.flag("head")
        mask = np.uint64(0 if bit is None else 1 << bit)
        heads: Mask = (source.word(self.layout.flags) & mask) != 0
        return heads

    def own(self, offset: int) -> Words:
        """Return the 64-bit words at byte `offset` of each page's own struct page."""
        if self.scope is not None:
            self.scope.check_word(offset)
        return self.batch.word(offset)

    def of_head(self, offset: int) -> Words:
        """Return the 64-bit words at byte `offset` from the head of each page's folio."""
        if self.scope is not None:
            self.scope.check_word(offset)
        words: Words = self._from_heads(self.batch.word(offset), self._outer.word(offset))
        return words

    def flag(self, name: str) -> Mask:
        """Return where a flag is set in the page's own flags; nowhere if this kernel lacks it."""
        return self.read(flag_bit(name)) != 0

    def head_flag(self, name: str) -> Mask:
        """Return where a flag is set on the page's folio; nowhere if this kernel lacks it."""
        return self.read(flag_bit(name, "folio")) != 0

    # --- folios

    @column(LINK)
    def heads(self) -> Pfns:
        """The pfn of the head of its folio; for a page that is not a tail, its own."""
        return self._heads

    @cached_property
    def _tails(self) -> Pfns:
        return np.flatnonzero(self._heads != self.pfns)

    @column(LINK)
    def tails(self) -> Pfns:
        """Indices of the pages that are not the head of their folio."""
        return self._tails

    @column(LINK)
    def tail(self) -> Mask:
        """Whether the page is not the head of its folio."""
        tail = np.zeros(len(self), np.bool_)
        tail[self._tails] = True
        return tail

    @cached_property
    def _tail_sources(self) -> tuple[Mask, Pfns, Pfns]:
        """For each tail: whether its head is in the batch; rows of heads inside; and outside."""
        index = self._heads[self._tails] - self.batch.first
        within = (index >= 0) & (index < self.batch.size)
        outside = np.searchsorted(self._outside, self._heads[self._tails[~within]])
        return within, self.batch.rows(index[within]), outside

    def _from_heads(self, own: npt.NDArray[Any], outer: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return a copy of `own` in which each tail has the value of its head."""
        if not len(self._tails):
            return own
        spread = own.copy()
        within, inside, outside = self._tail_sources
        spread[self._tails[within]] = own[inside]
        if len(outside):
            spread[self._tails[~within]] = outer[outside]
        return spread

    @column(flag_bit("head"))
    def folio_read(self) -> Mask | None:
        """Whether the struct pages that describe its folio could be read; None: all of them.

        These are the head and, if that has PG_head, the first tail, which has the order.
        """
        own, outer = self.batch.readable, self._outer.readable
        if own is None and outer is None:
            return None
        read = np.ones(len(self), np.bool_) if own is None else own.copy()
        end = self.pfns[1:] % SECTION_PFNS == 0
        read[:-1] &= read[1:] | end | ~self._heads_of(self.batch)[:-1]
        if outer is None:
            outer = np.ones((len(self._outside), 2), np.bool_)
        of_outer = outer[:, 0] & (outer[:, 1] | ~self._heads_of(self._outer))
        whole: Mask = self._from_heads(read, of_outer)
        return whole
