"""Which pages belong together: the head of the folio that each page is in."""

import numpy as np
import numpy.typing as npt

from ..layout import PageLayout
from ..walk import PageBatch, Words

Pfns = npt.NDArray[np.int64]

# Beyond every folio that there is: a 1 GiB page has order 18.
LARGEST_ORDER = 20
# A tail's compound word from here up is a mask: no struct page lies so high.
_MASK_TAG = np.uint64(0xFFFFFF0000000000)


def head_pfns(layout: PageLayout, batch: PageBatch) -> Pfns:
    """Return the pfn of the folio head of each pfn, (n,) int64: its own for all but tails."""
    compound = batch.word(layout.compound)
    pfns = np.arange(batch.first, batch.first + len(batch), dtype=np.int64)
    heads = pfns.copy()
    tails = np.flatnonzero(compound & np.uint64(1))
    heads[tails] = _tail_heads(layout, pfns[tails], compound[tails])
    if layout.fake_heads:
        _unmask_fake_heads(layout, batch, heads)
    return heads


def _tail_heads(layout: PageLayout, pfns: Pfns, compound: Words) -> Pfns:
    """Return what the compound words of tails point to; a tail of nonsense is its own head."""
    pointers = compound - np.uint64(1)
    if layout.compound_mask:
        own = np.uint64(layout.vmemmap) + pfns.astype(np.uint64) * np.uint64(layout.struct_size)
        masks = compound >= _MASK_TAG
        pointers[masks] = own[masks] & pointers[masks]
    offsets = pointers - np.uint64(layout.vmemmap)
    heads = (offsets // np.uint64(layout.struct_size)).astype(np.int64)
    sound = (
        (offsets % np.uint64(layout.struct_size) == 0)
        & (heads <= pfns)
        & (pfns - heads < 1 << LARGEST_ORDER)
    )
    return np.where(sound, heads, pfns)


def _unmask_fake_heads(layout: PageLayout, batch: PageBatch, heads: Pfns) -> None:
    """Correct, in place, tails that read as heads because HVO maps them onto their head's page.

    A real head's first tail points back to it; behind a fake one lies the real head's first tail.
    """
    bit = layout.flag("head")
    per_page = layout.page_size // layout.struct_size
    if bit is None:
        return
    firsts = np.arange(-batch.first % per_page, len(batch) - 1, per_page)
    flags = batch.word(layout.flags)[firsts]
    own, following = (batch.word(layout.compound)[firsts + i] for i in (0, 1))
    suspects = firsts[(flags >> np.uint64(bit) & ~own & following & np.uint64(1)).astype(bool)]
    if len(suspects):
        heads[suspects] = _tail_heads(
            layout, heads[suspects], batch.word(layout.compound)[suspects + 1]
        )


def outside_heads(batch: PageBatch, heads: Pfns) -> Pfns:
    """Return the heads that lie outside the batch, sorted, each once."""
    return np.unique(heads[(heads < batch.first) | (heads >= batch.first + len(batch))])
