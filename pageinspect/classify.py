"""From struct pages to columns: the type, order and headship of every pfn. Pure functions."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from .layout import MAX_ORDER, Marker, PageLayout
from .schemes import SLOTS, Reading, Scheme
from .walk import FolioHeads, PageBatch, Words

Pfns = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

# Beyond every folio that there is: a 1 GiB page has order 18.
_LARGEST_ORDER = 20
# A tail's compound word from here up is a mask: no struct page lies so high.
_MASK_TAG = np.uint64(0xFFFFFF0000000000)


class Code(IntEnum):
    """Codes of the type column beyond the slots of page types, which are codes below 256."""

    MAPPED = SLOTS
    RESET = SLOTS + 1
    MOVABLE_OPS = SLOTS + 2
    ODD = SLOTS + 3
    SLAB = SLOTS + 4
    HUGETLB = SLOTS + 5
    UNREADABLE = SLOTS + 6


CODES = SLOTS + len(Code)
UNTYPED = (Code.MAPPED, Code.RESET, Code.MOVABLE_OPS, Code.ODD)

_NAMES = {Code.SLAB: "slab", Code.HUGETLB: "hugetlb", Code.UNREADABLE: "unreadable"}

_OF_READING = np.zeros(len(Reading), np.uint16)
_OF_READING[Reading.MAPCOUNT] = Code.MAPPED
_OF_READING[Reading.RESET] = Code.RESET
_OF_READING[Reading.UNDERFLOW] = Code.ODD
_OF_READING[Reading.OVERFLOW] = Code.ODD


def code_name(scheme: Scheme, code: int) -> str:
    """Return the type name of a code: untyped ones have one name between them."""
    return scheme.slot_name(code) if code < SLOTS else _NAMES.get(Code(code), "untyped")


def type_names(layout: PageLayout) -> list[str]:
    """Return the names of all types that pages of this kernel can have, "untyped" last."""
    names = [page_type.name for page_type in layout.scheme.types]
    names += [n for n, marker in (("slab", layout.slab), ("hugetlb", layout.hugetlb)) if marker]
    return [*names, "unreadable", "untyped"]


def codes_of(layout: PageLayout, name: str) -> Mask:
    """Return which codes a type name means, (CODES,) bool; none for a name that means nothing."""
    page_type = layout.scheme.find(name)
    codes = np.arange(CODES)
    if page_type is not None and not layout.scheme.one_of:
        has_bit: Mask = (codes < SLOTS) & ((codes & page_type.slot) != 0)
        return has_bit
    return np.array([code_name(layout.scheme, code) == name for code in range(CODES)])


@dataclass(frozen=True, slots=True)
class TypeColumns:
    """Per pfn of a PageBatch, (n,): what `summary --by type` and `list` fold.

    `code` is uint16, a type's slot or a Code; `order` is uint8, that of the folio or free block the
    pfn lies in; `head` is bool, whether the pfn begins a folio or free block.
    """

    code: npt.NDArray[np.uint16]
    order: npt.NDArray[np.uint8]
    head: Mask


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
        & (pfns - heads < 1 << _LARGEST_ORDER)
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
    following = batch.word(layout.compound)[firsts + 1]
    suspects = firsts[(flags >> np.uint64(bit) & following & np.uint64(1)).astype(bool)]
    if len(suspects):
        heads[suspects] = _tail_heads(
            layout, heads[suspects], batch.word(layout.compound)[suspects + 1]
        )


def outside_heads(batch: PageBatch, heads: Pfns) -> Pfns:
    """Return the heads that lie outside the batch, sorted, each once."""
    outside = heads[(heads < batch.first) | (heads >= batch.first + len(batch))]
    return np.unique(outside)


def _half(words: Words, offset: int) -> npt.NDArray[np.uint32]:
    """Return the 32-bit part at byte `offset` of the 64-bit words that hold it."""
    return (words >> np.uint64(8 * (offset % 8))).astype(np.uint32)


def _marked(marker: Marker, layout: PageLayout, source: PageBatch | FolioHeads) -> Mask:
    marked: Mask = (source.word(marker.offset) & np.uint64(marker.mask)) == np.uint64(marker.equals)
    return (
        marked & _compound_heads(layout, source) if marker.offset >= layout.struct_size else marked
    )


def _compound_heads(layout: PageLayout, source: PageBatch | FolioHeads) -> Mask:
    bit = layout.flag("head")
    heads: Mask = (source.word(layout.flags) & np.uint64(1 << (bit or 0))) != 0
    return heads


def _own_codes(layout: PageLayout, source: PageBatch | FolioHeads) -> npt.NDArray[np.uint16]:
    """Return the code that each struct page has by itself, (n,) uint16."""
    words = _half(source.word(layout.page_type), layout.page_type)
    readings = layout.scheme.readings(words)
    codes = _OF_READING[readings]
    types = readings == Reading.TYPE
    codes[types] = layout.scheme.slots(words[types])
    if layout.movable_tag:
        tagged = (source.word(layout.mapping) & np.uint64(3)) == 2
        codes[tagged & ~types & ((source.word(layout.compound) & np.uint64(1)) == 0)] = (
            Code.MOVABLE_OPS
        )
    for marker, code in ((layout.slab, Code.SLAB), (layout.hugetlb, Code.HUGETLB)):
        if marker is not None:
            codes[_marked(marker, layout, source)] = code
    return codes


def _own_orders(layout: PageLayout, source: PageBatch | FolioHeads) -> npt.NDArray[np.uint8]:
    """Return the order of the folio that each struct page heads, (n,) uint8."""
    words = source.word(layout.order.offset) >> np.uint64(8 * (layout.order.offset % 8))
    orders = (words & np.uint64(layout.order.mask)).astype(np.uint8)
    orders[(orders > _LARGEST_ORDER) | ~_compound_heads(layout, source)] = 0
    return orders


def _spread_free_blocks(layout: PageLayout, batch: PageBatch, columns: TypeColumns) -> None:
    """Give, in place, the pages inside a free block the type and order of its head."""
    buddy = layout.scheme.find("buddy")
    if buddy is None:
        return
    heads = np.flatnonzero(columns.head & (columns.code == buddy.slot))
    if not len(heads):
        return
    orders = np.minimum(batch.word(layout.private)[heads], MAX_ORDER).astype(np.uint8)
    columns.order[heads] = orders
    last_head = np.zeros(len(batch), np.int64)
    last_head[heads] = np.arange(len(heads)) + 1
    np.maximum.accumulate(last_head, out=last_head)
    inside = np.flatnonzero(last_head)
    block = last_head[inside] - 1
    inside, block = (
        column[(inside > heads[block]) & (inside < heads[block] + (1 << orders[block].astype(int)))]
        for column in (inside, block)
    )
    # A page that an owner took meanwhile, on a live kernel, is not inside the block any more.
    free = (columns.code[inside] == Code.RESET) & (
        _half(batch.word(layout.refcount)[inside], layout.refcount) == 0
    )
    columns.code[inside[free]] = buddy.slot
    columns.order[inside[free]] = orders[block[free]]
    columns.head[inside[free]] = False


def type_columns(
    layout: PageLayout, batch: PageBatch, heads: Pfns, outside: Pfns, outer: FolioHeads
) -> TypeColumns:
    """Return the type columns of a batch.

    `heads` is what head_pfns() gives, `outside` what outside_heads() gives, `outer` those folios.
    A typed folio gives its type to its tails; a page of an untyped one is read by its own word.
    """
    codes = _own_codes(layout, batch)
    orders = _own_orders(layout, batch)
    index = heads - batch.first
    tails = np.flatnonzero(index != np.arange(len(batch)))
    within = (index[tails] >= 0) & (index[tails] < len(batch))
    head_codes = np.empty(len(tails), np.uint16)
    head_orders = np.empty(len(tails), np.uint8)
    head_codes[within] = codes[index[tails[within]]]
    head_orders[within] = orders[index[tails[within]]]
    if len(outside):
        which = np.searchsorted(outside, heads[tails[~within]])
        head_codes[~within] = _own_codes(layout, outer)[which]
        head_orders[~within] = _own_orders(layout, outer)[which]
    head = np.ones(len(batch), np.bool_)
    head[tails] = False
    orders[tails] = head_orders
    typed = (head_codes < SLOTS) | (head_codes > Code.ODD)
    codes[tails[typed]] = head_codes[typed]
    columns = TypeColumns(codes, orders, head)
    _spread_free_blocks(layout, batch, columns)
    if batch.readable is not None:
        codes[~batch.readable] = Code.UNREADABLE
        orders[~batch.readable] = 0
    return columns
