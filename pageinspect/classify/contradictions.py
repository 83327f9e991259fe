# SPDX-License-Identifier: GPL-2.0-only
"""Contradictions: states of struct pages that cannot occur in an intact kernel, as rules.

A page that breaks a rule has the use `conflict`, and `check` lists it with the rule's sentence. A
running kernel may itself break a rule with `races` for a moment. There such a rule gives no use:
`page` names it, and `check` reads the page again.
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
"""The flags of PAGE_FLAGS_CHECK_AT_FREE; a kernel may lack some of them."""

_CHECKED_AT_FREE = flag_bits("PAGE_FLAGS_CHECK_AT_FREE", FLAGS_CHECKED_AT_FREE)
_HEAD = flag_bit("head")
_RESERVED = flag_bit("reserved")


class CheckedColumns(PageColumns):
    """The columns of a batch, with those about contradictions."""

    @column_of(lambda: CONTRADICTIONS)
    def conflicting(self) -> Mask:
        """Whether the page breaks a rule that gives the use `conflict`, (n,) bool."""
        conflict = np.zeros(len(self), np.bool_)
        for rule in CONTRADICTIONS:
            if not (rule.races and self.memory_map.changing):
                conflict[rule.broken(self)] = True
        return conflict

    @column(_RESERVED, PageColumns.zone, PageColumns.node)
    def in_spans(self) -> tuple[Mask, Mask]:
        """Whether the node in the page's flags spans its pfn, and whether the zone does.

        Exempt, and so True: reserved pages, because init_unavailable_range() gives pages outside
        all zones the zone and node of a neighbour, or ones that do not exist; and pages of
        ZONE_DEVICE, which may overlap other zones.
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
    """One rule: pages in `broken` contradict themselves or each other."""

    name: str
    sentence: str
    cause: str
    """The likely cause when it is broken."""
    compute: Callable[[CheckedColumns], Pfns]
    """Returns the indices of the pages that break the rule, from `reads` only."""
    reads: tuple[Declared, ...]
    races: bool = False
    """A page of a running kernel may break it for a moment."""
    live: bool = True
    """`check` applies it on a running kernel: reading the page again can confirm it."""
    needs: str = ""
    """The name in PageLayout.unavailable without which it cannot be applied, if any."""

    def __str__(self) -> str:
        return f"the rule {self.name}"

    def broken(self, pages: CheckedColumns) -> Pfns:
        """Return the indices of the pages that break the rule."""
        broken: Pfns = self.computed(pages)
        return broken


def _type_on_tail(pages: PageColumns) -> Pfns:
    tails = pages.tails
    typed = tails[pages.reading[tails] == Reading.TYPE]
    # HVO maps the vmemmap pages of tails onto that of the head: their first tails read as the head.
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
    # The other pages of a free block may still have the mapping of their last owner.
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
        # A type without a known name may be zsmalloc.
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
    """Return for which of these pages the kernel's free_page_is_bad() would be true, (k,) bool."""
    if not len(index):
        return np.zeros(0, np.bool_)
    bad = pages.read(REFCOUNT, index) != 0
    bad |= pages.reading[index] != Reading.RESET
    bad |= _owned(pages, index)
    bad |= pages.read(POOL, index)
    return bad | (pages.read(_CHECKED_AT_FREE, index) != 0)


def _in_use_inside_block(pages: PageColumns) -> Pfns:
    inside = pages.behind_block_heads
    # Pages with a type break type-in-free-block.
    inside = inside[pages.reading[inside] != Reading.TYPE]
    return inside[_bad_if_free(pages, inside)]


def _in_use_on_list(pages: PageColumns) -> Pfns:
    first, pcp = pages.batch.first, pages.memory_map.pcp
    low, high = np.searchsorted(pcp.pfns, (first, first + pages.batch.size))
    # Only the first page of each block: some releases do not check the others.
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
    # Of a folio larger than a memory section, only the tails in the head's section are counted.
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
    """Return for each row how many tails in its memory section point to it, (n,) int64."""
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
        "A tail page has a type; only the head of a folio may have one.",
        "a write to the wrong struct page, or a folio that was split or freed with its type set.",
        _type_on_tail,
        (PageColumns.tails, PageColumns.reading),
    ),
    Contradiction(
        "type-in-free-block",
        "A page inside a free block has a type; only the first page of a block may have one.",
        "its owner still uses it after a free that it does not know of: the page may be allocated "
        "twice.",
        _type_in_free_block,
        (PageColumns.behind_block_heads, PageColumns.reading),
    ),
    Contradiction(
        "low-bits",
        "The page has a type that does not use the low bits of the page_type word, but some of "
        "them are set.",
        "a mapcount was changed on a page with a type, or the word was overwritten.",
        _low_bits,
        (PageColumns.own_code, PageColumns.type_word, PageColumns.tail),
    ),
    Contradiction(
        "odd-word",
        "The page_type word is not a type, not a mapcount and not the value of an unmapped page.",
        "an underflow (more unmaps than maps, or a type cleared twice), an overflow, or an "
        "overwritten word.",
        _odd_word,
        (PageColumns.own_code,),
    ),
    Contradiction(
        "misaligned-free-block",
        "A free block does not begin at a multiple of its size.",
        "its order (the private word) or its type was overwritten.",
        _misaligned_block,
        (PageColumns.buddy_heads, PageColumns.buddy_orders),
    ),
    Contradiction(
        "overlapping-free-blocks",
        "A free block begins inside another free block.",
        "a double free, or an overwritten order: the same memory may be allocated twice.",
        _overlapping_block,
        (PageColumns.buddy_heads, PageColumns.buddy_ends),
    ),
    Contradiction(
        "free-but-referenced",
        "The reference count of the first page of a free block is not 0.",
        "a reference was taken after the last one was dropped: a use after free.",
        _free_but_referenced,
        (PageColumns.buddy_heads, REFCOUNT),
    ),
    Contradiction(
        "free-but-owned",
        "The first page of a free block still has a mapping or a memory cgroup.",
        "its owner did not clear the word before the free, or wrote to it afterwards.",
        _free_but_owned,
        (PageColumns.buddy_heads, *_OWNER),
    ),
    Contradiction(
        "free-but-flagged",
        "A free page has a flag of PAGE_FLAGS_CHECK_AT_FREE, which must be clear in free pages.",
        "its owner freed it during an operation such as I/O, or set the flag afterwards.",
        _free_but_flagged,
        (PageColumns.free_pages, _CHECKED_AT_FREE),
    ),
    Contradiction(
        "free-page-pool",
        "A free page has the page_pool signature: it leaked from its pool.",
        "a network driver freed it to the page allocator and did not return it to its pool.",
        _page_pool_free,
        (PageColumns.free_pages, POOL),
        needs="page_pool",
    ),
    Contradiction(
        "tail-without-head",
        "A tail page points to a page that is not a head, or to a folio that ends before the tail.",
        "a folio was split or freed while its tails were in use, or the word was overwritten.",
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
        "The order of a free block is above the largest order of the page allocator.",
        "its private word was overwritten.",
        _block_order,
        (PageColumns.buddy_heads, BLOCK_ORDER),
    ),
    Contradiction(
        "in-use-inside-free-block",
        "A page inside a free block has a reference, a mapcount, a mapping, a memory cgroup, the "
        "page_pool signature or a flag of PAGE_FLAGS_CHECK_AT_FREE.",
        "its owner still uses it: the page may be allocated twice.",
        _in_use_inside_block,
        (PageColumns.behind_block_heads, *_BAD_IF_FREE),
        races=True,
    ),
    Contradiction(
        "in-use-on-cpu-list",
        "A page on a per-CPU free list has a reference, a mapcount, a type, a mapping, a memory "
        "cgroup, the page_pool signature or a flag of PAGE_FLAGS_CHECK_AT_FREE.",
        "its owner still uses it, or wrote to it after the free.",
        _in_use_on_list,
        (*_BAD_IF_FREE,),
        races=True,
        live=False,
        needs="pcp",
    ),
    Contradiction(
        "head-without-tails",
        "The number of tails that point to the head of a compound page does not match its order.",
        "a folio was only partly split or freed, or its order or a tail was overwritten.",
        _head_without_tails,
        (_HEAD, PageColumns.tail, PageColumns.tails, PageColumns.heads, PageColumns.folio_order),
    ),
    Contradiction(
        "wrong-node",
        "No zone of the node in the page's flags spans the page, and the page is not reserved.",
        "its flags were overwritten.",
        _wrong_node,
        (CheckedColumns.in_spans,),
        needs="zone",
    ),
    Contradiction(
        "wrong-zone",
        "The zone in the page's flags does not span the page, and the page is not reserved.",
        "its flags were overwritten.",
        _wrong_zone,
        (CheckedColumns.in_spans,),
        needs="zone",
    ),
)
