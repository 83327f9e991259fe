# SPDX-License-Identifier: GPL-2.0-only
"""Finds the head of the folio of each page, and the order of each folio."""

import numpy as np
import numpy.typing as npt

from ..model.arch import COMPOUND_MASKS
from ..model.batch import Words
from ..model.layout import PageLayout
from ..model.presence import each_once
from .batches import Batch, Pfns

# Above the order of any folio: that of a 1 GiB page is 18.
LARGEST_ORDER = 20
_MASKS = np.uint64(COMPOUND_MASKS)


def head_pfns(layout: PageLayout, batch: Batch) -> Pfns:
    """Return the pfn of the folio head of each row, (n,) int64; its own if it is not a tail."""
    heads = batch.pfns
    if layout.compound is None:
        return heads
    compound = batch.word(layout.compound)
    tails = np.flatnonzero(compound & np.uint64(1))
    heads[tails] = tail_heads(layout, heads[tails], compound[tails])
    if layout.fake_heads:
        _unmask_fake_heads(layout, batch, compound, heads)
    return heads


def tail_heads(layout: PageLayout, pfns: Pfns, compound: Words) -> Pfns:
    """Return the head pfns that the compound words of tails point to; the own pfn if invalid."""
    pointers = compound - np.uint64(1)
    if layout.compound_mask:
        own = np.uint64(layout.vmemmap) + pfns.astype(np.uint64) * np.uint64(layout.struct_size)
        masks = compound >= _MASKS
        pointers[masks] = own[masks] & pointers[masks]
    pointers -= np.uint64(layout.vmemmap)
    heads, rest = _divided(pointers, layout.struct_size)
    distance = pfns - heads
    sound = (rest == 0) & (distance >= 0) & (distance < 1 << LARGEST_ORDER)
    return np.where(sound, heads, pfns)


def _divided(offsets: Words, size: int) -> tuple[Pfns, Words]:
    """Return quotient and remainder. For a power of 2 this shifts: in numpy division is slow."""
    if size & (size - 1):
        return (offsets // np.uint64(size)).astype(np.int64), offsets % np.uint64(size)
    shift = np.uint64(size.bit_length() - 1)
    return (offsets >> shift).astype(np.int64), offsets & np.uint64(size - 1)


def _unmask_fake_heads(layout: PageLayout, batch: Batch, compound: Words, heads: Pfns) -> None:
    """Correct `heads` in place for tails that HVO maps onto their head's struct page.

    Such a tail reads as a head. The struct page after it is a first tail and points to the real
    head; the struct page after a real head points to that head itself.
    """
    bit = layout.flag("head")
    per_page = layout.page_size // layout.struct_size
    if bit is None:
        return
    suspects = np.flatnonzero(batch.word(layout.flags) >> np.uint64(bit) & ~compound & np.uint64(1))
    suspects = suspects[batch.pfns[suspects] % per_page == 0]
    if len(suspects):
        following = batch.word(layout.struct_size + (layout.compound or 0))[suspects]
        tails = (following & np.uint64(1)) != 0
        suspects = suspects[tails]
        heads[suspects] = tail_heads(layout, heads[suspects], following[tails])


def outside_heads(batch: Batch, heads: Pfns) -> Pfns:
    """Return the distinct heads outside the batch, sorted."""
    return each_once(heads[(heads < batch.first) | (heads >= batch.first + batch.size)])


def orders_from(layout: PageLayout, words: Words) -> npt.NDArray[np.uint8]:
    """Return the orders in the words that contain layout.order, (n,) uint8; 0 if invalid."""
    if layout.order is None:
        return np.zeros(len(words), np.uint8)
    orders = words >> np.uint64(8 * (layout.order.offset % 8)) & np.uint64(layout.order.mask)
    small = orders.astype(np.uint8)
    small[small > LARGEST_ORDER] = 0
    return small
