"""The columns of a PageBatch: per pfn, each computed when it is first asked for.

All are pure functions of the layout, the memory map and the words that were read. Flags, reference
counts and mappings that belong to a folio are those of its head: `head_*`. Each column declares
what it reads of struct page and which other columns it uses: see reads.py.
"""

import numpy as np
import numpy.typing as npt

from ..model.arch import MAX_ORDER, SECTION_PFNS
from ..model.batch import FolioHeads, Words
from ..model.memory_map import TRYLOCK
from ..model.page_types import READINGS, SLOTS, Reading
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
    """Return 0, 1, … for each size, one after the other."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)


def section_ends(pfns: Pfns) -> Pfns:
    """Return where the memory sections of these pfns end: no free block goes beyond."""
    return (pfns | (SECTION_PFNS - 1)) + 1


class PageColumns(Rows):
    """What is known of each pfn of a batch, or of each run of a RunBatch, as (n,) arrays."""

    # --- words of the struct page

    @column(TYPE_WORD)
    def word(self) -> npt.NDArray[np.unsignedinteger]:
        """The word that has its type, its own, as the scheme reads it."""
        return self.read(TYPE_WORD)

    @column(TYPE)
    def type_word(self) -> npt.NDArray[np.unsignedinteger]:
        """The same as far as it is read."""
        return self.read(TYPE)

    @column(type_word)
    def reading(self) -> npt.NDArray[np.uint8]:
        """The Reading of its own page_type word."""
        return self.layout.scheme.readings(self.type_word)

    @column(REFCOUNT)
    def refcount(self) -> npt.NDArray[np.int32]:
        """The reference count, its own."""
        return self.read(REFCOUNT)

    @column(HEAD_REFCOUNT)
    def head_refcount(self) -> npt.NDArray[np.int32]:
        """The reference count of its folio."""
        return self.read(HEAD_REFCOUNT)

    @column(FLAGS)
    def flags(self) -> Words:
        """The flags word, its own."""
        return self.read(FLAGS)

    @column(FLAGS, Rows.heads)
    def own_flags(self) -> Words:
        """The flags word, (n,) uint64, without the order that a first tail may keep in it."""
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
        """Whether its folio has the flags of the swap cache; other owners may have them too."""
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
        """Of the mapping of its folio, the bits that all kernel addresses have set and the low."""
        return self.read(MAPPING_KIND)

    @column(ZONE)
    def zone(self) -> npt.NDArray[np.uint8]:
        """The zone number in its own flags; 0 where nothing tells."""
        return self.read(ZONE).astype(np.uint8)

    @column(NODE)
    def node(self) -> npt.NDArray[np.uint16]:
        """The node number in its own flags."""
        return self.read(NODE)

    # --- types

    def _own_code(self, source: Batch | FolioHeads) -> npt.NDArray[np.uint16]:
        """Return the code that each struct page has by itself."""
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
            tagged = (self._of(source, MOVABLE_TAG) == 2) & (self._of(source, LINK) == 0)
            tagged[types] = False
            codes[tagged] = Code.MOVABLE_OPS
        if self.layout.slab is not None:
            codes[self._of(source, SLAB)] = Code.SLAB
        if self.layout.hugetlb is not None:
            codes[self._of(source, HUGETLB)] = Code.HUGETLB
        return codes

    @column(type_word, reading, MOVABLE_TAG, LINK, SLAB, HUGETLB)
    def own_code(self) -> npt.NDArray[np.uint16]:
        """The code of its own struct page, whatever its folio is."""
        return self._own_code(self.batch)

    @column(own_code, TYPE, MOVABLE_TAG, LINK, SLAB, HUGETLB)
    def _folio_code(self) -> npt.NDArray[np.uint16]:
        """The code of its folio; of a page in an untyped folio, its own."""
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
        """The order of its folio, 0 where it is none; says nothing of free blocks."""
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
        """The pfn at which each free block of `buddy_heads` ends, in its memory section."""
        starts = self.pfns[self.buddy_heads]
        ends = starts + (1 << self.buddy_orders.astype(np.int64))
        return np.minimum(ends, section_ends(starts))

    @column(buddy_heads, buddy_ends)
    def block(self) -> npt.NDArray[np.int32]:
        """Which of `buddy_heads` begins the free block that the page lies in; -1 for none."""
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
        """Indices of the pages inside a free block, behind its head, free or not."""
        inside = self.block >= 0
        inside[self.buddy_heads] = False
        return np.flatnonzero(inside)

    @column(behind_block_heads, _folio_code, REFCOUNT, Rows.tail)
    def inside_block(self) -> Pfns:
        """Indices of the pages inside a free block, behind its head, that are free themselves.

        On a live kernel an owner may have taken one since the head was read.
        """
        inside = self.behind_block_heads
        return inside[self._looks_free(inside)]

    def _looks_free(self, rows: Pfns) -> Mask:
        """Return which of these pages may be free, (k,) bool: free pages are no tails."""
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
        """Indices of the pages on CPUs' free lists, and for each the entry of memory map.pcp."""
        first, pcp = self.batch.first, self.memory_map.pcp
        low, high = np.searchsorted(pcp.pfns, (first, first + self.batch.size))
        starts = pcp.pfns[low:high]
        ends = np.minimum(
            starts + (1 << pcp.orders[low:high].astype(np.int64)), section_ends(starts)
        )
        ends = np.minimum(ends, first + self.batch.size)
        # The rows from that of the first page to that of the last.
        rows = self.batch.rows(starts - first)
        sizes = self.batch.rows(ends - 1 - first) - rows + 1
        index = np.repeat(rows, sizes) + ramp(sizes)
        entry = np.repeat(np.arange(low, high), sizes)
        # On a live kernel a page may be taken since the lists were followed.
        still = self._looks_free(index)
        return index[still], entry[still]

    @column(_pcp)
    def on_pcp_list(self) -> Mask:
        """Whether the page is on a CPU's free list, or inside a block that is."""
        listed = np.zeros(len(self), np.bool_)
        listed[self._pcp[0]] = True
        return listed

    @column(_pcp)
    def on_trylock_list(self) -> Mask:
        """Whether the page is on a trylock list, which is no CPU's, or inside a block that is."""
        index, entry = self._pcp
        listed = np.zeros(len(self), np.bool_)
        listed[index[self.memory_map.pcp.cpus[entry] == TRYLOCK]] = True
        return listed

    @property
    def unreadable(self) -> int:
        """Number of wanted pages that could not be read."""
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
        """Whether the page is typed while it is being freed.

        It has no references, and its type is none whose pages have none by nature.
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
        """The order of the folio or free block that the page lies in."""
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
        """Whether the page begins a folio or a free block."""
        head = ~self.tail
        head[self.inside_block] = False
        index, entry = self._pcp
        head[index] = self.memory_map.pcp.pfns[entry] == self.pfns[index]
        return head
