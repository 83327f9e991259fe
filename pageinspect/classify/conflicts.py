"""Contradictions: what no sound kernel's struct page says. Each rule is a name and a predicate.

A page that breaks a rule has the use `conflict`; `check` lists it with the rule's sentence.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..schemes import SLOTS, Reading
from .codes import Code
from .columns import Mask, PageColumns
from .folios import Pfns


@dataclass(frozen=True, slots=True)
class Conflict:
    """One rule: where `broken` holds, struct pages contradict themselves or each other."""

    name: str
    sentence: str
    broken: Callable[[PageColumns], Pfns]
    """Returns the indices of the pages that break the rule."""


def _type_on_tail(pages: PageColumns) -> Pfns:
    tails = pages.tails
    typed = tails[pages.reading[tails] == Reading.TYPE]
    # HVO maps the first tails of later struct pages onto the head's: they read as it does.
    mirrored = pages.layout.fake_heads and pages.layout.page_size // pages.layout.struct_size
    if mirrored:
        typed = typed[(typed + pages.batch.first) % mirrored != 0]
    return typed


def _type_in_free_block(pages: PageColumns) -> Pfns:
    inside = np.flatnonzero(pages.block >= 0)
    inside = inside[inside != pages.buddy_heads[pages.block[inside]]]
    return inside[pages.reading[inside] == Reading.TYPE]


def _overlapping_block(pages: PageColumns) -> Pfns:
    heads = pages.buddy_heads
    ends = heads + (1 << pages.buddy_orders.astype(np.int64))
    overlaps = heads[1:] < ends[:-1]
    return heads[1:][overlaps]


def _misaligned_block(pages: PageColumns) -> Pfns:
    heads, orders = pages.buddy_heads, pages.buddy_orders.astype(np.int64)
    misaligned = ((heads + pages.batch.first) & ((1 << orders) - 1)) != 0
    return heads[misaligned]


def _free_but_referenced(pages: PageColumns) -> Pfns:
    return pages.buddy_heads[pages.refcount[pages.buddy_heads] != 0]


def _free_but_owned(pages: PageColumns) -> Pfns:
    free = pages.free_pages
    layout = pages.layout
    owned = pages.own(layout.mapping)[free] != 0
    heads = np.zeros(len(pages), np.bool_)
    heads[pages.buddy_heads] = True
    # The mapping of a free block's tails may be what their last owner left there.
    owned &= heads[free]
    if layout.memcg is not None:
        owned |= (pages.own(layout.memcg)[free] != 0) & heads[free]
    return free[owned]


def _free_but_flagged(pages: PageColumns) -> Pfns:
    mask = 0
    for name in FLAGS_CHECKED_AT_FREE:
        bit = pages.layout.flag(name)
        mask |= 0 if bit is None else 1 << bit
    free = pages.free_pages
    return free[(pages.flags[free] & np.uint64(mask)) != 0]


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


def _low_bits(pages: PageColumns) -> Pfns:
    scheme = pages.layout.scheme
    typed = np.flatnonzero(pages.own_code < SLOTS)
    keeps = pages.own_code[typed] == (scheme.find_slot("zsmalloc"))
    low = scheme.low_bits(pages.word[typed]) != 0
    return typed[low & ~keeps & ~pages.tail[typed]]


def _odd_word(pages: PageColumns) -> Pfns:
    odd = np.flatnonzero(pages.own_code == Code.ODD)
    if pages.batch.readable is not None:
        odd = odd[pages.batch.readable[odd]]
    return odd


def _tail_without_head(pages: PageColumns) -> Pfns:
    tails = pages.tails
    bit = pages.layout.flag("head")
    if bit is None or not len(tails):
        return np.empty(0, np.int64)
    headless = (pages.head_flags[tails] & np.uint64(1 << bit)) == 0
    distance = tails + pages.batch.first - pages.heads[tails]
    beyond = distance >= (1 << pages.folio_order[tails].astype(np.int64))
    return tails[headless | beyond]


def _page_pool_free(pages: PageColumns) -> Pfns:
    if pages.layout.page_pool is None:
        return np.empty(0, np.int64)
    free = pages.free_pages
    mask, value = pages.layout.page_pool
    signed = (pages.own(pages.layout.compound)[free] & np.uint64(mask)) == np.uint64(value)
    return free[signed & (pages.head[free])]


CONFLICTS = (
    Conflict(
        "type-on-tail",
        "A tail page has a type: types stand on heads alone.",
        _type_on_tail,
    ),
    Conflict(
        "type-in-free-block",
        "A page inside a free block has a type: a block has one, on its first page.",
        _type_in_free_block,
    ),
    Conflict(
        "low-bits",
        "A type that keeps nothing in the low bits of its word has some set.",
        _low_bits,
    ),
    Conflict(
        "odd-word",
        "The page_type word is neither a type nor a mapcount nor free: it was underflowed, "
        "overflowed or overwritten.",
        _odd_word,
    ),
    Conflict(
        "misaligned-free-block",
        "A free block does not begin at a multiple of its size.",
        _misaligned_block,
    ),
    Conflict(
        "overlapping-free-blocks",
        "A free block begins inside another.",
        _overlapping_block,
    ),
    Conflict(
        "free-but-referenced",
        "The first page of a free block has a reference count.",
        _free_but_referenced,
    ),
    Conflict(
        "free-but-owned",
        "The first page of a free block still has a mapping or a memory cgroup.",
        _free_but_owned,
    ),
    Conflict(
        "free-but-flagged",
        "A free page has a flag that the kernel refuses at free.",
        _free_but_flagged,
    ),
    Conflict(
        "free-page-pool",
        "A free page has the signature of a page_pool page: it leaked from its pool.",
        _page_pool_free,
    ),
    Conflict(
        "tail-without-head",
        "A tail page points to a page that is no head, or whose folio does not reach it.",
        _tail_without_head,
    ),
)


def conflicting(pages: PageColumns) -> Mask:
    """Return where any rule is broken, (n,) bool."""
    conflict = np.zeros(len(pages), np.bool_)
    for rule in CONFLICTS:
        conflict[rule.broken(pages)] = True
    return conflict
