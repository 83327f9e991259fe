# SPDX-License-Identifier: GPL-2.0-only
"""The columns of a PageBatch: one entry per pfn, computed when a column is first read.

Columns are pure functions of the layout, the memory map and the words that were read. Columns
named `head_*` have the value of the folio's head. Each column declares which bits of struct page
and which other columns it uses: see reads.py.
"""

import numpy as np
import numpy.typing as npt

from ..model.arch import MAX_ORDER, SECTION_PFNS
from ..model.batch import FolioHeads, Words
from ..model.memory_map import TRYLOCK
from ..model.page_types import READINGS, SLOTS, Reading
from ..model.page_words import MAPPING_MOVABLE
from .batches import Batch, Mask, Pfns
from .codes import CODES, Code, codes_of
from .reads import column
from .rows import Rows
from .words import (
    BLOCK_ORDER,
    FLAGS,
    FOLIO_ORDER,
    HEAD_FLAGS,
    HEAD_REFCOUNT,
    HUGETLB,
    LINK,
    MAPPING,
    MAPPING_KIND,
    MOVABLE_TAG,
    NODE,
    REFCOUNT,
    SLAB,
    SWAPCACHE,
    TYPE,
    TYPE_WORD,
    ZONE,
)

_OF_READING = np.zeros(len(READINGS), np.uint16)
_OF_READING[Reading.MAPCOUNT] = Code.MAPPED
_OF_READING[Reading.RESET] = Code.RESET
_OF_READING[Reading.UNDERFLOW] = Code.ODD
_OF_READING[Reading.OVERFLOW] = Code.ODD


def ramp(sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the concatenation of range(size) for each size."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)


def section_ends(pfns: Pfns) -> Pfns:
    """Return the ends of the memory sections of these pfns; no free block crosses them."""
    return (pfns | (SECTION_PFNS - 1)) + 1


class PageColumns(Rows):
    """Columns of a batch: (n,) arrays with an entry per pfn, or per run of a RunBatch."""

    # --- words of the struct page

    @column(TYPE_WORD)
    def word(self) -> npt.NDArray[np.unsignedinteger]:
        """The page's own page_type word, all of its bits."""
        return self.read(TYPE_WORD)

    @column(TYPE)
    def type_word(self) -> npt.NDArray[np.unsignedinteger]:
        """The page's own page_type word, reduced to the bits that the scheme reads."""
        return self.read(TYPE)

    @column(type_word)
    def reading(self) -> npt.NDArray[np.uint8]:
        """The Reading of the page's own page_type word."""
        return self.layout.scheme.readings(self.type_word)

    @column(REFCOUNT)
    def refcount(self) -> npt.NDArray[np.int32]:
        """The page's own reference count."""
        return self.read(REFCOUNT)

    @column(HEAD_REFCOUNT)
    def head_refcount(self) -> npt.NDArray[np.int32]:
        """The reference count of its folio."""
        return self.read(HEAD_REFCOUNT)

    @column(FLAGS)
    def flags(self) -> Words:
        """The page's own flags word."""
        return self.read(FLAGS)

    @column(FLAGS, Rows.heads)
    def own_flags(self) -> Words:
        """The page's own flags word, without the folio order that a first tail may have in it."""
        flags = self.read(FLAGS)
        order = self.layout.order
        if order is not None and self.layout.order_in_flags:
            first_tails = self.heads == self.pfns - 1
            flags = np.where(first_tails, flags & ~np.uint64(order.mask), flags)
        return flags

    @column(HEAD_FLAGS)
    def head_flags(self) -> Words:
        """The flags word of its folio."""
        return self.read(HEAD_FLAGS)

    @column(SWAPCACHE)
    def in_swap_cache(self) -> Mask:
        """Whether its folio has the flags of the swap cache; other owners may also set them."""
        flags = np.uint64(self.layout.swapcache or 0)
        if not flags:
            return np.zeros(len(self), np.bool_)
        return self.read(SWAPCACHE) == flags

    @column(MAPPING)
    def mapping(self) -> Words:
        """The mapping word of its folio."""
        return self.read(MAPPING)

    @column(MAPPING_KIND)
    def mapping_kind(self) -> Words:
        """The mapping of its folio: the bits set in every kernel address, and the low two."""
        return self.read(MAPPING_KIND)

    @column(ZONE)
    def zone(self) -> npt.NDArray[np.uint8]:
        """The zone number in its own flags; 0 if the place of the zone in flags is not known."""
        return self.read(ZONE).astype(np.uint8)

    @column(NODE)
    def node(self) -> npt.NDArray[np.uint16]:
        """The node number in its own flags."""
        return self.read(NODE)

    # --- types

    def _own_code(self, source: Batch | FolioHeads) -> npt.NDArray[np.uint16]:
        """Return the code of each struct page by its own words, (n,) uint16."""
        scheme = self.layout.scheme
        if source is self.batch:
            words, readings = self.type_word, self.reading
        else:
            words = self._of(source, TYPE)
            readings = scheme.readings(words)
        codes = _OF_READING[readings]
        types = np.flatnonzero(readings == Reading.TYPE)
        codes[types] = scheme.slots(words[types])
        if self.layout.movable_tag:
            tagged = (self._of(source, MOVABLE_TAG) == MAPPING_MOVABLE) & (
                self._of(source, LINK) == 0
            )
            tagged[types] = False
            codes[tagged] = Code.MOVABLE_OPS
        if self.layout.slab is not None:
            codes[self._of(source, SLAB)] = Code.SLAB
        if self.layout.hugetlb is not None:
            codes[self._of(source, HUGETLB)] = Code.HUGETLB
        return codes

    @column(type_word, reading, MOVABLE_TAG, LINK, SLAB, HUGETLB)
    def own_code(self) -> npt.NDArray[np.uint16]:
        """The code of the page's own struct page, which for a tail may differ from its folio's."""
        return self._own_code(self.batch)

    @column(own_code, TYPE, MOVABLE_TAG, LINK, SLAB, HUGETLB)
    def _folio_code(self) -> npt.NDArray[np.uint16]:
        """The code of its folio; if the folio is untyped, the page's own code."""
        own, tails = self.own_code, self._tails
        if not len(tails):
            return own
        spread: npt.NDArray[np.uint16] = self._from_heads(own, self._own_code(self._outer))
        of_head = spread[tails]
        untyped = (of_head >= SLOTS) & (of_head <= Code.ODD)
        spread[tails[untyped]] = own[tails[untyped]]
        return spread

    @column(FOLIO_ORDER)
    def folio_order(self) -> npt.NDArray[np.uint8]:
        """The order of its folio; 0 for pages that are not compound, free blocks included."""
        spread: npt.NDArray[np.uint8] = self._from_heads(
            self._of(self.batch, FOLIO_ORDER), self._of(self._outer, FOLIO_ORDER)
        )
        return spread

    # --- free blocks

    def _begin_blocks(self) -> Pfns:
        return self.buddy_heads

    @column(_folio_code, Rows.tail)
    def buddy_heads(self) -> Pfns:
        """Indices of the pages that begin a free block."""
        buddy = self.layout.scheme.find("buddy")
        if buddy is None:
            return np.empty(0, np.int64)
        return np.flatnonzero((self._folio_code == buddy.slot) & ~self.tail)

    @column(BLOCK_ORDER, buddy_heads)
    def buddy_orders(self) -> npt.NDArray[np.uint8]:
        """The order of each free block of `buddy_heads`."""
        return np.minimum(self.read(BLOCK_ORDER), np.uint64(MAX_ORDER)).astype(np.uint8)

    @column(buddy_heads, buddy_orders)
    def buddy_ends(self) -> Pfns:
        """The end pfn of each free block of `buddy_heads`, limited to its memory section."""
        starts = self.pfns[self.buddy_heads]
        ends = starts + (1 << self.buddy_orders.astype(np.int64))
        return np.minimum(ends, section_ends(starts))

    @column(buddy_heads, buddy_ends)
    def block(self) -> npt.NDArray[np.int32]:
        """The index into `buddy_heads` of the free block that contains the page; -1 for none."""
        block = np.full(len(self), -1, np.int32)
        heads = self.buddy_heads
        if len(heads):
            block[heads] = np.arange(len(heads), dtype=np.int32)
            np.maximum.accumulate(block, out=block)
            candidates = np.flatnonzero(block >= 0)
            beyond = self.pfns[candidates] >= self.buddy_ends[block[candidates]]
            block[candidates[beyond]] = -1
        return block

    @column(block, buddy_heads)
    def behind_block_heads(self) -> Pfns:
        """Indices of the pages inside a free block, except its first page, whether free or not."""
        inside = self.block >= 0
        inside[self.buddy_heads] = False
        return np.flatnonzero(inside)

    @column(behind_block_heads, _folio_code, REFCOUNT, Rows.tail)
    def inside_block(self) -> Pfns:
        """Indices of the free pages inside a free block, except its first page.

        On a live kernel a page may have been allocated since the head of the block was read.
        """
        inside = self.behind_block_heads
        return inside[self._looks_free(inside)]

    def _looks_free(self, rows: Pfns) -> Mask:
        """Return which of these pages may be free, (k,) bool; a tail cannot be."""
        free: Mask = (self._folio_code[rows] == Code.RESET) & (self.read(REFCOUNT, rows) == 0)
        return free & ~self.tail[rows]

    @column(buddy_heads, inside_block)
    def free_pages(self) -> Pfns:
        """Indices of the pages of all free blocks."""
        free = np.zeros(len(self), np.bool_)
        free[self.buddy_heads] = True
        free[self.inside_block] = True
        return np.flatnonzero(free)

    @column(_folio_code, REFCOUNT, Rows.tail)
    def _pcp(self) -> tuple[Pfns, Pfns]:
        """Indices of the pages on per-CPU free lists, and the entry of `memory_map.pcp` of each."""
        first, pcp = self.batch.first, self.memory_map.pcp
        low, high = np.searchsorted(pcp.pfns, (first, first + self.batch.size))
        starts = pcp.pfns[low:high]
        ends = np.minimum(
            starts + (1 << pcp.orders[low:high].astype(np.int64)), section_ends(starts)
        )
        ends = np.minimum(ends, first + self.batch.size)
        # All rows of a block, from that of its first page to that of its last.
        rows = self.batch.rows(starts - first)
        sizes = self.batch.rows(ends - 1 - first) - rows + 1
        index = np.repeat(rows, sizes) + ramp(sizes)
        entry = np.repeat(np.arange(low, high), sizes)
        # On a live kernel a page may have been allocated since the lists were followed.
        still = self._looks_free(index)
        return index[still], entry[still]

    @column(_pcp)
    def on_pcp_list(self) -> Mask:
        """Whether the page is on a per-CPU free list, or inside a block that is."""
        listed = np.zeros(len(self), np.bool_)
        listed[self._pcp[0]] = True
        return listed

    @column(_pcp)
    def on_trylock_list(self) -> Mask:
        """Whether the page is on the trylock list of a zone, or inside a block that is."""
        index, entry = self._pcp
        listed = np.zeros(len(self), np.bool_)
        listed[index[self.memory_map.pcp.cpus[entry] == TRYLOCK]] = True
        return listed

    @property
    def unreadable(self) -> int:
        """The number of wanted pages whose struct page could not be read."""
        batch = self.batch
        if batch.readable is None:
            return 0
        return self.count(
            ~batch.readable if batch.wanted is None else ~batch.readable & batch.wanted
        )

    @column(_folio_code, inside_block)
    def code(self) -> npt.NDArray[np.uint16]:
        """The type of the page: a type's slot, or a Code."""
        code = self._folio_code.copy()
        buddy = self.layout.scheme.find("buddy")
        if buddy is not None:
            code[self.inside_block] = buddy.slot
        if self.batch.readable is not None:
            code[~self.batch.readable] = Code.UNREADABLE
        return code

    @column(type_word, reading, refcount, Rows.tail, code)
    def freeing(self) -> Mask:
        """Whether the page is being freed with its type still set.

        It has no references, and its type is not one whose pages never have references.
        """
        scheme, layout = self.layout.scheme, self.layout
        if layout.frozen is None:
            return np.zeros(len(self), np.bool_)
        frozen = np.zeros(CODES, np.bool_)
        for name in layout.frozen:
            frozen |= codes_of(layout, name)
        typed = scheme.typed(self.type_word) & (self.reading == Reading.TYPE)
        freeing: Mask = typed & (self.refcount == 0) & ~self.tail & ~frozen[self.code]
        return freeing

    @column(folio_order, buddy_heads, buddy_orders, block, inside_block, _pcp)
    def order(self) -> npt.NDArray[np.uint8]:
        """The order of the folio or free block that contains the page."""
        order = self.folio_order.copy()
        order[self.buddy_heads] = self.buddy_orders
        order[self.inside_block] = self.buddy_orders[self.block[self.inside_block]]
        index, entry = self._pcp
        order[index] = self.memory_map.pcp.orders[entry]
        if self.batch.readable is not None:
            order[~self.batch.readable] = 0
        return order

    @column(Rows.tail, inside_block, _pcp)
    def head(self) -> Mask:
        """Whether the page is the first page of a folio or of a free block."""
        head = ~self.tail
        head[self.inside_block] = False
        index, entry = self._pcp
        head[index] = self.memory_map.pcp.pfns[entry] == self.pfns[index]
        return head

    @column(head)
    def folios(self) -> Pfns:
        """The number of folios and free blocks that begin in the row."""
        return self.lengths * self.head
