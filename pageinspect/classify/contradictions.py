"""Contradictions: what no sound kernel's struct page says. Each rule is a name and a predicate.

A page that breaks a rule has the use `conflict`; `check` lists it with the rule's sentence. On a
running kernel those rules give no use that the kernel breaks itself between two reads: `check`,
which reads again, and `page` name them there.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..model.arch import MAX_ORDER, SECTION_PFNS
from ..model.page_types import SLOTS, Reading
from .batches import Mask, Pfns
from .codes import Code
from .columns import PageColumns, section_ends
from .reads import Declared, Declaring, column, column_of
from .words import (
    BLOCK_ORDER,
    NO_MEMCG,
    OWN_NO_MAPPING,
    POOL,
    REFCOUNT,
    flag_bit,
    flag_bits,
)

FLAGS_CHECKED_AT_FREE = (
    "lru",
    "locked",
    "private",
    "private_2",
    "writeback",
    "reserved",
    "slab",
    "active",
    "unevictable",
    "mlocked",
)
"""PAGE_FLAGS_CHECK_AT_FREE of the kernel, as far as its flags have these names."""

_CHECKED_AT_FREE = flag_bits("those that the kernel refuses at free", FLAGS_CHECKED_AT_FREE)
_HEAD = flag_bit("head")
_RESERVED = flag_bit("reserved")


class CheckedColumns(PageColumns):
    """The columns of a batch with which pages contradict themselves."""

    @column_of(lambda: CONTRADICTIONS)
    def conflicting(self) -> Mask:
        """Where a rule is broken that gives the use `conflict`, (n,) bool."""
        conflict = np.zeros(len(self), np.bool_)
        for rule in CONTRADICTIONS:
            if not (rule.races and self.memory_map.changing):
                conflict[rule.broken(self)] = True
        return conflict

    @column(_RESERVED, PageColumns.zone, PageColumns.node)
    def in_spans(self) -> tuple[Mask, Mask]:
        """Where the pfn lies in the node of its flags, and in the zone of its flags.

        Pages that no zone owns are reserved; init_unavailable_range() gave them the zone and node
        next to them, or one that there is not: those are no contradiction. Device zones may overlap
        others.
        """
        pfns = self.pfns
        exempt = self.flag("reserved") | (self.zone == (self.layout.device_zone or 0xFF))
        if self.batch.readable is not None:
            exempt |= ~self.batch.readable
        in_node, in_zone = exempt, exempt.copy()
        for zone in self.memory_map.zones:
            inside = (pfns >= zone.start) & (pfns < zone.end) & (self.node == zone.node)
            in_node = in_node | inside
            in_zone |= inside & (self.zone == zone.number)
        return in_node, in_zone


@dataclass(frozen=True, slots=True)
class Contradiction(Declaring):
    """One rule: where `broken` holds, struct pages contradict themselves or each other."""

    name: str
    sentence: str
    cause: str
    """What one should think of when it is broken."""
    compute: Callable[[CheckedColumns], Pfns]
    """Returns the indices of the pages that break the rule, from what it reads."""
    reads: tuple[Declared, ...]
    races: bool = False
    """On a running kernel a page may break it for a moment."""
    live: bool = True
    """`check` can tell it on a running kernel: by reading the page again, without the lists."""
    needs: str = ""
    """What must be told for it, of what a layout may leave unavailable."""

    def __str__(self) -> str:
        return f"the rule {self.name}"

    def broken(self, pages: CheckedColumns) -> Pfns:
        """Return the indices of the pages that break the rule."""
        broken: Pfns = self.computed(pages)
        return broken


def _type_on_tail(pages: PageColumns) -> Pfns:
    tails = pages.tails
    typed = tails[pages.reading[tails] == Reading.TYPE]
    # HVO maps the first tails of later struct pages onto the head's: they read as it does.
    mirrored = pages.layout.fake_heads and pages.layout.page_size // pages.layout.struct_size
    if mirrored:
        typed = typed[pages.pfns[typed] % mirrored != 0]
    return typed


def _type_in_free_block(pages: PageColumns) -> Pfns:
    inside = pages.behind_block_heads
    return inside[pages.reading[inside] == Reading.TYPE]


def _overlapping_block(pages: PageColumns) -> Pfns:
    heads = pages.buddy_heads
    ends = np.maximum.accumulate(pages.buddy_ends)
    return heads[1:][pages.pfns[heads[1:]] < ends[:-1]]


def _misaligned_block(pages: PageColumns) -> Pfns:
    heads, orders = pages.buddy_heads, pages.buddy_orders.astype(np.int64)
    misaligned = (pages.pfns[heads] & ((1 << orders) - 1)) != 0
    return heads[misaligned]


def _free_but_referenced(pages: PageColumns) -> Pfns:
    return pages.buddy_heads[pages.read(REFCOUNT, pages.buddy_heads) != 0]


def _free_but_owned(pages: PageColumns) -> Pfns:
    # The mapping of a free block's tails may be what their last owner left there.
    heads = pages.buddy_heads
    return heads[_owned(pages, heads)]


def _owned(pages: PageColumns, rows: Pfns) -> Mask:
    """Return which of these pages have a mapping or a memory cgroup, (k,) bool."""
    owned = np.zeros(len(rows), np.bool_)
    if pages.layout.mapping is not None:
        owned |= ~pages.read(OWN_NO_MAPPING, rows)
    if pages.layout.memcg is not None:
        owned |= ~pages.read(NO_MEMCG, rows)
    return owned


def _free_but_flagged(pages: PageColumns) -> Pfns:
    free = pages.free_pages
    return free[pages.read(_CHECKED_AT_FREE, free) != 0]


def _low_bits(pages: PageColumns) -> Pfns:
    scheme = pages.layout.scheme
    typed = np.flatnonzero(pages.own_code < SLOTS)
    keeps = pages.own_code[typed] == (scheme.find_slot("zsmalloc"))
    if pages.layout.unavailable:
        # zsmalloc may be one of the types without a name.
        keeps |= ~np.isin(pages.own_code[typed], [t.slot for t in scheme.types])
    low = scheme.low_bits(pages.type_word[typed]) != 0
    return typed[low & ~keeps & ~pages.tail[typed]]


def _odd_word(pages: PageColumns) -> Pfns:
    odd = np.flatnonzero(pages.own_code == Code.ODD)
    if pages.batch.readable is not None:
        odd = odd[pages.batch.readable[odd]]
    return odd


def _tail_without_head(pages: PageColumns) -> Pfns:
    tails = pages.tails
    if pages.layout.flag("head") is None or not len(tails):
        return np.empty(0, np.int64)
    headless = ~pages.head_flag("head")[tails]
    distance = pages.pfns[tails] - pages.heads[tails]
    beyond = distance >= (1 << pages.folio_order[tails].astype(np.int64))
    broken = headless | beyond
    if pages.folio_read is not None:
        broken &= pages.folio_read[tails]
    return tails[broken]


def _page_pool_free(pages: PageColumns) -> Pfns:
    free = pages.free_pages
    return free[pages.read(POOL, free)]


def _block_order(pages: PageColumns) -> Pfns:
    return pages.buddy_heads[pages.read(BLOCK_ORDER) > np.uint64(MAX_ORDER)]


def _bad_if_free(pages: PageColumns, index: Pfns) -> Mask:
    """Return which of these pages free_page_is_bad() of the kernel would refuse, (k,) bool."""
    if not len(index):
        return np.zeros(0, np.bool_)
    bad = pages.read(REFCOUNT, index) != 0
    bad |= pages.reading[index] != Reading.RESET
    bad |= _owned(pages, index)
    bad |= pages.read(POOL, index)
    return bad | (pages.read(_CHECKED_AT_FREE, index) != 0)


def _in_use_inside_block(pages: PageColumns) -> Pfns:
    inside = pages.behind_block_heads
    # Typed ones have a rule of their own.
    inside = inside[pages.reading[inside] != Reading.TYPE]
    return inside[_bad_if_free(pages, inside)]


def _in_use_on_list(pages: PageColumns) -> Pfns:
    first, pcp = pages.batch.first, pages.memory_map.pcp
    low, high = np.searchsorted(pcp.pfns, (first, first + pages.batch.size))
    # The first page of each block: what is behind it the kernel checks only in some releases.
    listed = pages.batch.rows(pcp.pfns[low:high] - first)
    return listed[_bad_if_free(pages, listed)]


def _head_without_tails(pages: PageColumns) -> Pfns:
    if pages.layout.compound is None:
        return np.empty(0, np.int64)
    heads = np.flatnonzero(pages.flag("head"))
    heads = heads[~pages.tail[heads]]
    if not len(heads):
        return heads
    starts, first = pages.pfns[heads], pages.batch.first
    # A gigantic folio goes beyond its memory section: only its tails in there are counted.
    ends = starts + (1 << pages.folio_order[heads].astype(np.int64))
    known = np.minimum(section_ends(starts), first + pages.batch.size)
    tails = np.minimum(ends, known) - starts - 1
    broken = (tails == 0) | (_tails_of_heads(pages)[heads] != tails)
    if pages.batch.readable is not None:
        # The first tail has the order.
        last = np.minimum(np.maximum(ends, starts + 2), known) - 1
        unread = np.concatenate(([0], np.cumsum(pages.lengths * ~pages.batch.readable)))
        broken &= unread[pages.batch.rows(last - first) + 1] == unread[heads]
    return heads[broken]


def _tails_of_heads(pages: PageColumns) -> npt.NDArray[np.int64]:
    """Return how many tails in its memory section point to each row, (n,)."""
    tails = pages.tails
    heads = pages.heads[tails]
    here = (heads ^ pages.pfns[tails]) < SECTION_PFNS
    here &= heads >= pages.batch.first
    rows = pages.batch.rows(heads[here] - pages.batch.first)
    return np.bincount(rows, pages.lengths[tails[here]], len(pages)).astype(np.int64)


_OWNER = (OWN_NO_MAPPING, NO_MEMCG)
_BAD_IF_FREE = (REFCOUNT, PageColumns.reading, *_OWNER, POOL, _CHECKED_AT_FREE)


def _wrong_node(pages: CheckedColumns) -> Pfns:
    if not pages.memory_map.zones:
        return np.empty(0, np.int64)
    in_node, _ = pages.in_spans
    return np.flatnonzero(~in_node)


def _wrong_zone(pages: CheckedColumns) -> Pfns:
    if not pages.memory_map.zones:
        return np.empty(0, np.int64)
    in_node, in_zone = pages.in_spans
    return np.flatnonzero(in_node & ~in_zone)


CONTRADICTIONS: tuple[Contradiction, ...] = (
    Contradiction(
        "type-on-tail",
        "A tail page has a type: types stand on heads alone.",
        "a write to a wrong struct page, or a folio torn apart while it was typed.",
        _type_on_tail,
        (PageColumns.tails, PageColumns.reading),
    ),
    Contradiction(
        "type-in-free-block",
        "A page inside a free block has a type: a block has one, on its first page.",
        "its owner still uses it, or it was freed unseen: expect it to be handed out twice.",
        _type_in_free_block,
        (PageColumns.behind_block_heads, PageColumns.reading),
    ),
    Contradiction(
        "low-bits",
        "A type that keeps nothing in the low bits of its word has some set.",
        "a mapcount was changed on a typed page, or the word was overwritten.",
        _low_bits,
        (PageColumns.own_code, PageColumns.type_word, PageColumns.tail),
    ),
    Contradiction(
        "odd-word",
        "The page_type word is neither a type nor a mapcount nor free: it was underflowed, "
        "overflowed or overwritten.",
        "a page was unmapped or its type cleared more often than set, or the word was overwritten.",
        _odd_word,
        (PageColumns.own_code,),
    ),
    Contradiction(
        "misaligned-free-block",
        "A free block does not begin at a multiple of its size.",
        "the order in its private word, or its type, was overwritten.",
        _misaligned_block,
        (PageColumns.buddy_heads, PageColumns.buddy_orders),
    ),
    Contradiction(
        "overlapping-free-blocks",
        "A free block begins inside another.",
        "a double free, or an order that was overwritten: the same memory can be handed out twice.",
        _overlapping_block,
        (PageColumns.buddy_heads, PageColumns.buddy_ends),
    ),
    Contradiction(
        "free-but-referenced",
        "The first page of a free block has a reference count.",
        "someone took a reference after the last was dropped: a use after free.",
        _free_but_referenced,
        (PageColumns.buddy_heads, REFCOUNT),
    ),
    Contradiction(
        "free-but-owned",
        "The first page of a free block still has a mapping or a memory cgroup.",
        "its owner freed it without letting go of it, or wrote to it afterwards.",
        _free_but_owned,
        (PageColumns.buddy_heads, *_OWNER),
    ),
    Contradiction(
        "free-but-flagged",
        "A free page has a flag that the kernel refuses at free.",
        "its owner freed it in the middle of something, or set a flag afterwards.",
        _free_but_flagged,
        (PageColumns.free_pages, _CHECKED_AT_FREE),
    ),
    Contradiction(
        "free-page-pool",
        "A free page has the signature of a page_pool page: it leaked from its pool.",
        "a network driver returned it to the system and not to its pool.",
        _page_pool_free,
        (PageColumns.free_pages, POOL),
        needs="page_pool",
    ),
    Contradiction(
        "tail-without-head",
        "A tail page points to a page that is no head, or whose folio does not reach it.",
        "a folio was split or freed while someone kept its tails, or the word was overwritten.",
        _tail_without_head,
        (
            PageColumns.tails,
            PageColumns.heads,
            PageColumns.folio_order,
            PageColumns.folio_read,
            flag_bit("head", "folio"),
        ),
    ),
    Contradiction(
        "free-block-order",
        "The order of a free block is larger than any.",
        "its private word was overwritten.",
        _block_order,
        (PageColumns.buddy_heads, BLOCK_ORDER),
    ),
    Contradiction(
        "in-use-inside-free-block",
        "A page inside a free block is referenced, mapped, owned, charged or flagged.",
        "its owner still uses it: expect it to be handed out twice.",
        _in_use_inside_block,
        (PageColumns.behind_block_heads, *_BAD_IF_FREE),
        races=True,
    ),
    Contradiction(
        "in-use-on-cpu-list",
        "A page on a free list of a CPU is referenced, mapped, typed, owned, charged or flagged.",
        "its owner still uses it, or wrote to it after freeing it.",
        _in_use_on_list,
        (*_BAD_IF_FREE,),
        races=True,
        live=False,
        needs="pcp",
    ),
    Contradiction(
        "head-without-tails",
        "The head of a compound page has an order that its tails contradict.",
        "a folio was torn apart, or its order or one of its tails was overwritten.",
        _head_without_tails,
        (_HEAD, PageColumns.tail, PageColumns.tails, PageColumns.heads, PageColumns.folio_order),
    ),
    Contradiction(
        "wrong-node",
        "The node in its flags has no zone that spans it, and it is not reserved.",
        "its flags were overwritten.",
        _wrong_node,
        (CheckedColumns.in_spans,),
        needs="zone",
    ),
    Contradiction(
        "wrong-zone",
        "The zone in its flags does not span it, and it is not reserved.",
        "its flags were overwritten.",
        _wrong_zone,
        (CheckedColumns.in_spans,),
        needs="zone",
    ),
)
