# SPDX-License-Identifier: GPL-2.0-only
"""Describes pages that nothing leads to: what their struct pages say of the allocation.

The key of such a page is the site of its allocation, if the kernel keeps that, or its signature:
use, order, number of references and flags of the first page of its allocation.
"""

import numpy as np

from ..classify.batches import Mask, Pfns
from ..classify.uses import RULES, USE, Pages, Uses, use_name
from ..model.allocations import ALLOCATED_AT, FIRST_TAG, Sites
from ..model.batch import Words
from ..model.layout import PageLayout
from ..units import counted
from .assign import Assigned, first_pages
from .kind import Keys

_REFERENCES, _ORDER, _COMPOUND, _USE = 32, 48, 54, 55
"""The first bits of the parts of a signature; flags are below them."""
_MOST_REFERENCES = 0xFFFF
_FIRST_USE = min(USE.values())


def signed(pages: Pages, each: Assigned, words: Words, sites: Sites | None = None) -> Assigned:
    """Return single unknown pages, sorted by pfn, with their sites or signatures as keys.

    `words` are those of their struct pages, (n, words per struct page) uint64. `sites` are those of
    the pages themselves. Only the first page of an allocation has a tag, which is preferred to the
    stacks of the others; a page without a site has that of the first page.
    """
    if not len(each.starts):
        return each
    layout, pfns, rows = pages.layout, each.starts, each.rows
    use, order = pages.use[rows], pages.folio_order[rows].astype(np.int64)
    compound = order > 0
    heads = np.where(compound, pages.heads[rows], pfns)
    idle = (use == USE["idle"]) & ~compound
    holder = first_pages(pfns, pfns + 1, idle, ~compound)
    heads = np.where(holder >= 0, pfns[holder], heads)
    order = np.where(compound, order, _orders(heads))
    first = np.minimum(np.searchsorted(pfns, heads), len(pfns) - 1)
    first = np.where(pfns[first] == heads, first, np.arange(len(pfns)))
    keys = _keys(layout, words[first], use[first], order, compound)
    if sites is not None:
        of_first = sites[first]
        follow = (sites < FIRST_TAG) & ((of_first >= FIRST_TAG) | (sites == 0))
        found = np.where(follow, of_first, sites)
        keys = np.where(found != 0, found, keys)
    return Assigned(pfns, each.lengths, rows, each.kinds, keys)


def _orders(heads: Pfns) -> Pfns:
    """Return the order of the block that each page is in, from the number of pages of its head."""
    begins = np.append(True, heads[1:] != heads[:-1])[: len(heads)]
    sizes = np.diff(np.flatnonzero(begins), append=len(heads))
    orders = np.ceil(np.log2(sizes)).astype(np.int64)
    return np.repeat(orders, sizes)


def _keys(layout: PageLayout, words: Words, use: Uses, order: Pfns, compound: Mask) -> Keys:
    flags = words[:, layout.flags // 8] & np.uint64(_known_flags(layout))
    references = np.zeros(len(words), np.uint64)
    if layout.refcount is not None:
        half = words[:, layout.refcount // 8] >> np.uint64(8 * (layout.refcount % 8))
        count = half.astype(np.uint32).view(np.int32)
        references = np.clip(count, 0, _MOST_REFERENCES).astype(np.uint64)
    return (
        flags
        | references << np.uint64(_REFERENCES)
        | order.astype(np.uint64) << np.uint64(_ORDER)
        | compound.astype(np.uint64) << np.uint64(_COMPOUND)
        | (use.astype(np.uint64) - np.uint64(_FIRST_USE)) << np.uint64(_USE)
    )


def _known_flags(layout: PageLayout) -> int:
    bits = sum(1 << bit for name, bit in layout.flag_bits if name != "head")
    return bits & ((1 << _REFERENCES) - 1)


def signature_text(layout: PageLayout, key: int) -> str:
    """Return a signature as text, such as "kernel, order 3, 1 reference, flags private"."""
    use = use_name(layout, (key >> _USE) + _FIRST_USE)
    order = key >> _ORDER & (1 << (_COMPOUND - _ORDER)) - 1
    compound = " compound" if key >> _COMPOUND & 1 else ""
    references = key >> _REFERENCES & _MOST_REFERENCES
    parts = [use, f"order {order}{compound}", counted(references, "reference")]
    flags = "|".join(name for name, bit in layout.flag_bits if key >> bit & 1 and bit < _REFERENCES)
    return ", ".join((*parts, *((flags,) if flags else ())))


assert len(RULES) < ALLOCATED_AT >> _USE  # noqa: S101 - a signature is not a site
