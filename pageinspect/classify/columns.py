"""The columns of a PageBatch: per pfn, each computed when it is first asked for.

All are pure functions of the layout, the memory map and the words that were read. Flags, reference
counts and mappings that belong to a folio are those of its head: `head_*`.
"""

from functools import cached_property

import numpy as np
import numpy.typing as npt

from ..model.arch import MAX_ORDER, SECTION_PFNS
from ..model.batch import FolioHeads, Words
from ..model.layout import Marker, PageLayout
from ..model.memory_map import TRYLOCK, MemoryMap
from ..model.page_types import READINGS, SLOTS, Reading
from .batches import Batch, Mask, Pfns
from .codes import CODES, Code, codes_of
from .folios import orders_from

Half = npt.NDArray[np.uint32]

_OF_READING = np.zeros(len(READINGS), np.uint16)
_OF_READING[Reading.MAPCOUNT] = Code.MAPPED
_OF_READING[Reading.RESET] = Code.RESET
_OF_READING[Reading.UNDERFLOW] = Code.ODD
_OF_READING[Reading.OVERFLOW] = Code.ODD


def _half(words: Words, offset: int) -> Half:
    """Return the 32-bit part at byte `offset` of the 64-bit words that hold it."""
    return (words >> np.uint64(8 * (offset % 8))).astype(np.uint32)


def ramp(sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return 0, 1, … for each size, one after the other."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)


def section_ends(pfns: Pfns) -> Pfns:
    """Return where the memory sections of these pfns end: no free block goes beyond."""
    return (pfns | (SECTION_PFNS - 1)) + 1


class PageColumns:
    """What is known of each pfn of a batch, or of each run of a RunBatch, as (n,) arrays.

    `heads` is what head_pfns() gives, `outside` what outside_heads() gives, `outer` those folios.
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
        self.layout = layout
        self.memory_map = memory_map
        self.batch = batch
        self.heads = heads
        self._outside = outside
        self._outer = outer

    def __len__(self) -> int:
        return len(self.batch)

    @cached_property
    def pfns(self) -> Pfns:
        """The first pfn of each row."""
        return self.batch.pfns

    @cached_property
    def lengths(self) -> Pfns:
        """The number of pages of each row: 1 but for runs."""
        return self.batch.lengths

    def count(self, rows: Mask) -> int:
        """Return how many pages there are in these rows."""
        return int(self.lengths[rows].sum())

    @cached_property
    def own_flags(self) -> Words:
        """The flags word, (n,) uint64, without the order that a first tail may keep in it."""
        flags = self.flags
        if self.layout.order_in_flags:
            first_tails = self.heads == self.pfns - 1
            flags = np.where(first_tails, flags & ~np.uint64(self.layout.order.mask), flags)
        return flags

    # --- folios

    @cached_property
    def tails(self) -> Pfns:
        """Indices of the pages that are not the head of their folio."""
        return np.flatnonzero(self.heads != self.pfns)

    @cached_property
    def tail(self) -> Mask:
        """Whether the page is not the head of its folio."""
        tail = np.zeros(len(self), np.bool_)
        tail[self.tails] = True
        return tail

    @cached_property
    def _tail_sources(self) -> tuple[Mask, Pfns, Pfns]:
        """Return, for each tail, whether its head is in the batch, and its row there or outside."""
        index = self.heads[self.tails] - self.batch.first
        within = (index >= 0) & (index < self.batch.size)
        outside = np.searchsorted(self._outside, self.heads[self.tails[~within]])
        return within, self.batch.rows(index[within]), outside

    def _from_heads(self, own: npt.NDArray[np.generic], outer: npt.NDArray[np.generic]):  # type: ignore[no-untyped-def]
        """Return `own` with the values of tails taken from their heads."""
        if not len(self.tails):
            return own
        spread = own.copy()
        within, inside, outside = self._tail_sources
        spread[self.tails[within]] = own[inside]
        if len(outside):
            spread[self.tails[~within]] = outer[outside]
        return spread

    @cached_property
    def folio_read(self) -> Mask | None:
        """Whether what tells of its folio was read; None: of all.

        That is the head, and behind one with PG_head the first tail, which has the order.
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

    def own(self, offset: int) -> Words:
        """Return the 64-bit words at byte `offset` of each page's own struct page."""
        return self.batch.word(offset)

    def of_head(self, offset: int) -> Words:
        """Return the 64-bit words at byte `offset` from the head of each page's folio."""
        words: Words = self._from_heads(self.batch.word(offset), self._outer.word(offset))
        return words

    # --- words of the struct page

    @cached_property
    def word(self) -> npt.NDArray[np.unsignedinteger]:
        """The word that has its type, its own, as the scheme reads it."""
        offset = self.layout.page_type
        return self.layout.scheme.word(self.own(offset), offset)

    @cached_property
    def reading(self) -> npt.NDArray[np.uint8]:
        """The Reading of its own page_type word."""
        return self.layout.scheme.readings(self.word)

    @cached_property
    def refcount(self) -> npt.NDArray[np.int32]:
        """The reference count, its own."""
        return _half(self.own(self.layout.refcount), self.layout.refcount).view(np.int32)

    @cached_property
    def head_refcount(self) -> npt.NDArray[np.int32]:
        """The reference count of its folio."""
        offset = self.layout.refcount
        return _half(self.of_head(offset), offset).view(np.int32)

    @cached_property
    def flags(self) -> Words:
        """The flags word, its own."""
        return self.own(self.layout.flags)

    @cached_property
    def head_flags(self) -> Words:
        """The flags word of its folio."""
        return self.of_head(self.layout.flags)

    def flag(self, name: str) -> Mask:
        """Whether a flag is set in its own struct page; nowhere when this kernel has none."""
        return self._bit(self.flags, name)

    def head_flag(self, name: str) -> Mask:
        """Whether a flag is set on its folio; nowhere when this kernel has none."""
        return self._bit(self.head_flags, name)

    def _bit(self, words: Words, name: str) -> Mask:
        bit = self.layout.flag(name)
        if bit is None:
            return np.zeros(len(self), np.bool_)
        mask: Mask = (words & np.uint64(1 << bit)) != 0
        return mask

    @cached_property
    def in_swap_cache(self) -> Mask:
        """Whether its folio has the flags of the swap cache; other owners may have them too."""
        flags = np.uint64(self.layout.swapcache or 0)
        if not flags:
            return np.zeros(len(self), np.bool_)
        mask: Mask = (self.head_flags & flags) == flags
        return mask

    @cached_property
    def mapping(self) -> Words:
        """The mapping word of its folio."""
        return self.of_head(self.layout.mapping)

    @cached_property
    def zone(self) -> npt.NDArray[np.uint8]:
        """The zone number in its own flags; 0 where nothing tells."""
        field = self.layout.zone_field
        if field is None:
            return np.zeros(len(self), np.uint8)
        return (self.flags >> np.uint64(field.shift)).astype(np.uint8) & np.uint8(field.mask)

    @cached_property
    def node(self) -> npt.NDArray[np.uint16]:
        """The node number in its own flags."""
        field = self.layout.node_field
        return (self.flags >> np.uint64(field.shift)).astype(np.uint16) & np.uint16(field.mask)

    # --- types

    def _own_code(self, source: Batch | FolioHeads) -> npt.NDArray[np.uint16]:
        """Return the code that each struct page has by itself."""
        layout = self.layout
        if source is self.batch:
            words, readings = self.word, self.reading
        else:
            words = layout.scheme.word(source.word(layout.page_type), layout.page_type)
            readings = layout.scheme.readings(words)
        codes = _OF_READING[readings]
        types = np.flatnonzero(readings == Reading.TYPE)
        codes[types] = layout.scheme.slots(words[types])
        if layout.movable_tag:
            tagged = (source.word(layout.mapping) & np.uint64(3)) == 2
            tagged &= (source.word(layout.compound) & np.uint64(1)) == 0
            tagged[types] = False
            codes[tagged] = Code.MOVABLE_OPS
        for marker, code in ((layout.slab, Code.SLAB), (layout.hugetlb, Code.HUGETLB)):
            if marker is not None:
                codes[self._marked(marker, source)] = code
        return codes

    def _marked(self, marker: Marker, source: Batch | FolioHeads) -> Mask:
        words = source.word(marker.offset) & np.uint64(marker.mask)
        marked: Mask = words == np.uint64(marker.equals)
        return (
            marked & self._heads_of(source) if marker.offset >= self.layout.struct_size else marked
        )

    def _heads_of(self, source: Batch | FolioHeads) -> Mask:
        bit = self.layout.flag("head")
        heads: Mask = (source.word(self.layout.flags) & np.uint64(1 << (bit or 0))) != 0
        return heads

    def _own_order(self, source: Batch | FolioHeads) -> npt.NDArray[np.uint8]:
        """Return the order of the folio that each struct page heads."""
        orders = orders_from(self.layout, source.word(self.layout.order.offset))
        orders[~self._heads_of(source)] = 0
        return orders

    @cached_property
    def own_code(self) -> npt.NDArray[np.uint16]:
        """The code of its own struct page, whatever its folio is."""
        return self._own_code(self.batch)

    @cached_property
    def _folio_code(self) -> npt.NDArray[np.uint16]:
        """The code of its folio; of a page in an untyped folio, its own."""
        own = self.own_code
        if not len(self.tails):
            return own
        spread: npt.NDArray[np.uint16] = self._from_heads(own, self._own_code(self._outer))
        of_head = spread[self.tails]
        untyped = (of_head >= SLOTS) & (of_head <= Code.ODD)
        spread[self.tails[untyped]] = own[self.tails[untyped]]
        return spread

    @cached_property
    def folio_order(self) -> npt.NDArray[np.uint8]:
        """The order of its folio, 0 where it is none; says nothing of free blocks."""
        own = self._own_order(self.batch)
        spread: npt.NDArray[np.uint8] = self._from_heads(own, self._own_order(self._outer))
        return spread

    # --- free blocks

    @cached_property
    def buddy_heads(self) -> Pfns:
        """Indices of the pages that begin a free block."""
        buddy = self.layout.scheme.find("buddy")
        if buddy is None:
            return np.empty(0, np.int64)
        return np.flatnonzero((self._folio_code == buddy.slot) & ~self.tail)

    @cached_property
    def buddy_orders(self) -> npt.NDArray[np.uint8]:
        """The order of each free block of `buddy_heads`."""
        private = self.own(self.layout.private)[self.buddy_heads]
        return np.minimum(private, np.uint64(MAX_ORDER)).astype(np.uint8)

    @cached_property
    def buddy_ends(self) -> Pfns:
        """The pfn at which each free block of `buddy_heads` ends, in its memory section."""
        starts = self.pfns[self.buddy_heads]
        ends = starts + (1 << self.buddy_orders.astype(np.int64))
        return np.minimum(ends, section_ends(starts))

    @cached_property
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

    @cached_property
    def behind_block_heads(self) -> Pfns:
        """Indices of the pages inside a free block, behind its head, free or not."""
        inside = self.block >= 0
        inside[self.buddy_heads] = False
        return np.flatnonzero(inside)

    @cached_property
    def inside_block(self) -> Pfns:
        """Indices of the pages inside a free block, behind its head, that are free themselves.

        On a live kernel an owner may have taken one since the head was read.
        """
        inside = self.behind_block_heads
        return inside[self._looks_free(inside)]

    def _looks_free(self, rows: Pfns) -> Mask:
        """Return which of these pages may be free, (k,) bool: free pages are no tails."""
        free: Mask = (self._folio_code[rows] == Code.RESET) & (self.refcount[rows] == 0)
        return free & ~self.tail[rows]

    @cached_property
    def free_pages(self) -> Pfns:
        """Indices of the pages of all free blocks."""
        free = np.zeros(len(self), np.bool_)
        free[self.buddy_heads] = True
        free[self.inside_block] = True
        return np.flatnonzero(free)

    @cached_property
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

    @cached_property
    def on_pcp_list(self) -> Mask:
        """Whether the page is on a CPU's free list, or inside a block that is."""
        listed = np.zeros(len(self), np.bool_)
        listed[self._pcp[0]] = True
        return listed

    @property
    def on_trylock_list(self) -> Mask:
        """Whether the page is on a trylock list, which is no CPU's, or inside a block that is."""
        index, entry = self._pcp
        listed = np.zeros(len(self), np.bool_)
        listed[index[self.memory_map.pcp.cpus[entry] == TRYLOCK]] = True
        return listed

    @cached_property
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
        typed = scheme.typed(self.word) & (self.reading == Reading.TYPE)
        freeing: Mask = typed & (self.refcount == 0) & ~self.tail & ~frozen[self.code]
        return freeing

    @property
    def unreadable(self) -> int:
        """Number of wanted pages that could not be read."""
        batch = self.batch
        if batch.readable is None:
            return 0
        return self.count(
            ~batch.readable if batch.wanted is None else ~batch.readable & batch.wanted
        )

    @cached_property
    def code(self) -> npt.NDArray[np.uint16]:
        """The type of the page: a type's slot, or a Code."""
        code = self._folio_code.copy()
        buddy = self.layout.scheme.find("buddy")
        if buddy is not None:
            code[self.inside_block] = buddy.slot
        if self.batch.readable is not None:
            code[~self.batch.readable] = Code.UNREADABLE
        return code

    @cached_property
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

    @cached_property
    def head(self) -> Mask:
        """Whether the page begins a folio or a free block."""
        head = ~self.tail
        head[self.inside_block] = False
        index, entry = self._pcp
        head[index] = self.memory_map.pcp.pfns[entry] == self.pfns[index]
        return head
