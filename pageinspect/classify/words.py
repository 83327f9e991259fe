# SPDX-License-Identifier: GPL-2.0-only
"""The Reads of struct page that rules and columns may declare, by name."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, wraps
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from ..model.batch import Words
from ..model.layout import BitField, Marker, PageLayout
from .batches import Mask
from .folios import orders_from
from .reads import ALL, NOWHERE, Bits, Of, Read

Integers = npt.NDArray[np.int32]
T = TypeVar("T")


class _Named(Protocol[T]):
    def __call__(self, word: str, of: Of = "page") -> Read[T]: ...


def _one_each(make: Callable[[str, Of], Read[T]]) -> _Named[T]:
    """Make a function return the same Read for the same arguments: Reads compare by identity."""
    known = cache(make)

    @wraps(make)
    def read(word: str, of: Of = "page") -> Read[T]:
        return known(word, of)

    return read


def bits(word: str, what: str, find: Callable[[PageLayout], Bits], of: Of = "page") -> Read[Words]:
    """Return the Read of some bits, not shifted; 0 if this kernel lacks the word."""

    def value(_layout: PageLayout, found: Bits, words: Words) -> Words:
        return words if found.mask == ALL else words & np.uint64(found.mask)

    return Read(word, what, lambda layout: (find(layout),), value, of)


def equal(word: str, what: str, find: Callable[[PageLayout], Bits], of: Of = "page") -> Read[Mask]:
    """Return the Read of whether some bits have a value; False if this kernel lacks the word."""

    def value(_layout: PageLayout, found: Bits, words: Words) -> Mask:
        masked = words if found.mask == ALL else words & np.uint64(found.mask)
        return masked == np.uint64(found.equals or 0)

    return Read(word, what, lambda layout: (find(layout),), value, of)


@_one_each
def int32(word: str, of: Of = "page") -> Read[Integers]:
    """Return the Read of a signed 32-bit count; 0 if this kernel lacks the word."""

    def value(_layout: PageLayout, found: Bits, words: Words) -> Integers:
        halves = words if found.mask & 1 else words >> np.uint64(32)
        return halves.astype(np.uint32).view(np.int32)

    return Read(word, "", lambda layout: (_at(layout, word, 0xFFFFFFFF),), value, of)


def field(what: str, find: Callable[[PageLayout], BitField]) -> Read[npt.NDArray[np.uint16]]:
    """Return the Read of a bit field in the flags word, as a number."""

    def value(layout: PageLayout, _found: Bits, words: Words) -> npt.NDArray[np.uint16]:
        bits = find(layout)
        return (words >> np.uint64(bits.shift)).astype(np.uint16) & np.uint16(bits.mask)

    def where(layout: PageLayout) -> tuple[Bits, ...]:
        bits = find(layout)
        return (_at(layout, "flags", bits.mask << bits.shift),)

    return Read("flags", what, where, value)


def _at(layout: PageLayout, word: str, mask: int, equals: int | None = None) -> Bits:
    """Return the bits of a member by its name in PageLayout; bit 0 of `mask` is its lowest bit."""
    offset = getattr(layout, word)
    if offset is None:
        return NOWHERE
    return Bits(offset - offset % 8, mask << 8 * (offset % 8) & ALL, equals)


@_one_each
def whole(word: str, of: Of = "page") -> Read[Words]:
    """Return the Read of a 64-bit word."""
    return bits(word, "", lambda layout: _at(layout, word, ALL), of)


@_one_each
def flag_bit(name: str, of: Of = "page") -> Read[Words]:
    """Return the Read of a flag; 0 if this kernel has no flag of this name."""
    return flag_bits(name, (name,), of)


@cache
def flag_bits(what: str, names: tuple[str, ...], of: Of = "page") -> Read[Words]:
    """Return the Read of several flags; those that this kernel lacks read 0."""

    def find(layout: PageLayout) -> Bits:
        known = (layout.flag(name) for name in names)
        return _at(layout, "flags", sum(1 << bit for bit in known if bit is not None))

    return bits("flags", what, find, of)


@_one_each
def _zero(word: str, of: Of = "page") -> Read[Mask]:
    return equal(word, "whether it is 0", lambda layout: _at(layout, word, ALL, 0), of)


def _pool(layout: PageLayout) -> Bits:
    return NOWHERE if layout.page_pool is None else _at(layout, "compound", *layout.page_pool)


def _marker(marker: Marker | None) -> Bits:
    return NOWHERE if marker is None else Bits(marker.offset, marker.mask, marker.equals)


def _order(layout: PageLayout) -> tuple[Bits, ...]:
    if layout.order is None:
        return (NOWHERE,)
    offset, mask = layout.order.offset, layout.order.mask
    return (Bits(offset - offset % 8, mask << 8 * (offset % 8)),)


def _type(layout: PageLayout) -> tuple[Bits, ...]:
    mask, is_zero = layout.scheme.reduced_from()
    parts = (_at(layout, "page_type", mask),)
    return (*parts, _at(layout, "page_type", ALL, 0)) if is_zero else parts


TYPE: Read[Any] = Read(
    "page_type",
    "",
    _type,
    lambda layout, _bits, words: layout.scheme.reduced(layout.scheme.word(words, layout.page_type)),
)
"""The page_type word, reduced to the bits that the scheme reads."""
TYPE_WORD: Read[Any] = Read(
    "page_type",
    "all bits",
    lambda layout: (_at(layout, "page_type", (1 << layout.scheme.word_bits) - 1),),
    lambda layout, _bits, words: layout.scheme.word(words, layout.page_type),
)
REFCOUNT = int32("refcount")
HEAD_REFCOUNT = int32("refcount", "folio")
FLAGS = whole("flags")
HEAD_FLAGS = whole("flags", "folio")
ZONE = field("zone", lambda layout: layout.zone_bits)
NODE = field("node", lambda layout: layout.node_field)
SWAPCACHE = bits(
    "flags", "swapcache, swapbacked", lambda lo: _at(lo, "flags", lo.swapcache or 0), "folio"
)
MAPPING = whole("mapping", "folio")
OWN_MAPPING = whole("mapping")
NO_MAPPING = _zero("mapping", "folio")
OWN_NO_MAPPING = _zero("mapping")
MAPPING_KIND = bits(
    "mapping",
    "whether it is a kernel address, low bits",
    lambda layout: _at(layout, "mapping", layout.kernel_half | 3),
    "folio",
)
MOVABLE_TAG = bits(
    "mapping",
    "low bits",
    lambda layout: _at(layout, "mapping", 3) if layout.movable_tag else NOWHERE,
)
MEMCG = whole("memcg")
HEAD_MEMCG = whole("memcg", "folio")
NO_MEMCG = _zero("memcg")
LINK = Read(
    "compound",
    "link of a tail to its head",
    lambda layout: (replace(_at(layout, "compound", ALL), only="tails"),),
    lambda _layout, _bits, words: words & -(words & np.uint64(1)),
)
POOL = equal("compound", "page_pool signature", _pool)
HEAD_POOL = equal("compound", "page_pool signature", _pool, "folio")
BLOCK_ORDER = Read(
    "private",
    "order, in the first page of a free block",
    lambda layout: (replace(_at(layout, "private", ALL), only="blocks"),),
    lambda _layout, _bits, words: words,
)
FOLIO_ORDER = Read("order", "", _order, lambda layout, _bits, words: orders_from(layout, words))
SLAB = equal("flags", "slab, if it is not a page type", lambda layout: _marker(layout.slab))
HUGETLB = equal("hugetlb", "if it is not a page type", lambda layout: _marker(layout.hugetlb))
ENTIRE_MAPCOUNT = int32("entire_mapcount", "folio")
LARGE_MAPCOUNT = int32("large_mapcount", "folio")
PINCOUNT = int32("pincount", "folio")
