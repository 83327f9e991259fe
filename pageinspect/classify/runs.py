# SPDX-License-Identifier: GPL-2.0-only
"""Cuts memory into runs of pages with equal columns, which are decoded once per run.

The struct pages of a run agree in every bit that the requested columns declare to read
(details.py). No run crosses a boundary of a zone, a free block, a per-CPU list entry, a folio, the
wanted pfns or the given edges. Every struct page is read and compared. The columns of a RunBatch
have one entry per run, equal to the entry of each of its pages.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ..model.arch import MAX_ORDER, SECTION_PFNS
from ..model.batch import PageBatch, Words
from ..model.layout import PageLayout
from ..model.memory_map import MemoryMap
from ..model.page_types import Reading
from ..model.presence import each_once
from .batches import Batches, Mask, Pfns, RunBatch
from .columns import ramp
from .details import DETAILS, Detail
from .folios import LARGEST_ORDER, orders_from, tail_heads
from .reads import ALL, Bits, Places, RunScope, compared
from .words import LINK, TYPE, flag_bit

_PIECE = 16384
"""Struct pages compared at a time: 1 MiB, which fits into the private cache of a core."""
_MOST_ROWS = 32768
"""With this many runs a RunBatch ends, to bound the memory that it takes."""

_CUT_BY = (LINK, TYPE, flag_bit("head"))
"""The reads that find folios and free blocks, at which runs are cut: see _position_bounds()."""


def in_runs(
    layout: PageLayout,
    memory_map: MemoryMap,
    batches: Iterable[PageBatch],
    detail: Detail,
    joined: int = 4,
    edges: Pfns | None = None,
) -> Iterator[RunBatch]:
    """Yield the pages of the batches as runs, up to `joined` adjacent sections per RunBatch.

    `edges` are sorted pfns at which runs begin in any case.
    """
    condense = _Condenser(layout, memory_map, detail, edges)
    held: list[PageBatch] = []
    for batch in batches:
        if held and held[-1].first + len(held[-1]) != batch.first:
            yield from condense(held)
            held = []
        held.append(batch)
        # Decode at once: the caller releases these sections before more are read.
        if len(held) == joined:
            yield from condense(held)
            held = []
    if held:
        yield from condense(held)


class _Condenser:
    """Makes RunBatches of adjacent PageBatches."""

    def __init__(
        self, layout: PageLayout, memory_map: MemoryMap, detail: Detail, edges: Pfns | None
    ) -> None:
        self._layout = layout
        self._edges = np.empty(0, np.int64) if edges is None else edges
        places = Places(layout)
        self._compared = compared(places, (*_CUT_BY, *DETAILS[detail]))
        self._scope = RunScope(f"runs of the detail {detail!r}", places, self._compared)
        self._columns = np.empty((2, _PIECE), np.uint64)
        self._memory_map = memory_map
        self._buddy = layout.scheme.find_slot("buddy")
        head = layout.flag("head")
        self._head = np.uint64(0 if head is None else 1 << head)

    def __call__(self, parts: Sequence[PageBatch]) -> Iterator[RunBatch]:
        """Yield the runs of all parts; a RunBatch covers one part or more."""
        first, begins = parts[0].first, self._bounds(Batches(parts))
        held: list[PageBatch] = []
        found: list[Pfns] = []
        taken: list[Words] = []
        for part in parts:
            held.append(part)
            start, before = part.first - first, part.first - held[0].first
            for piece in range(0, len(part), _PIECE):
                # Copy struct pages while they are in the CPU cache.
                end = min(piece + _PIECE, len(part))
                changes = begins[start + piece : start + end]
                self._compare(part.words[piece:end], changes)
                offsets = np.flatnonzero(changes) + piece
                taken.append(part.words[offsets])
                found.append(offsets + before)
            if part is parts[-1] or sum(map(len, found)) >= _MOST_ROWS:
                inside = begins[start - before : start + len(part)]
                yield self._runs(Batches(held), inside, found, taken)
                held = []

    def _runs(
        self, batches: Batches, begins: Mask, found: list[Pfns], taken: list[Words]
    ) -> RunBatch:
        """Return the runs of the batches, and clear the lists `found` and `taken`."""
        offsets, words = np.concatenate(found), np.concatenate(taken)
        found.clear()
        taken.clear()
        again = True
        while again:
            more, again = self._position_bounds(batches, begins, offsets, words)
            at = np.searchsorted(offsets, more)
            words = np.insert(words, at, batches.take(more), axis=0)
            offsets = np.insert(offsets, at, more)
        heads = np.flatnonzero(words[:, self._layout.flags // 8] & self._head)
        behind = np.zeros((len(heads), words.shape[1]), np.uint64)
        inside = self._have_tails(batches, offsets[heads])
        behind[inside] = batches.take(offsets[heads[inside]] + 1)
        return RunBatch(
            batches.first,
            len(batches),
            offsets,
            words,
            None if batches.readable is None else batches.readable[offsets],
            None if batches.wanted is None else batches.wanted[offsets],
            heads,
            behind,
            self._scope,
        )

    def _compare(self, words: Words, begins: Mask) -> None:
        """Set `begins` where a struct page differs from the one before it."""
        n = len(words)
        changes = begins[1:]
        begins[0] = True
        for each in self._compared:
            word, column, other = words[:, each.offset // 8], *self._columns[:, :n]
            if each.tests or each.mask == ALL:
                np.copyto(column, word)
                word = column
            for test in each.tests:
                found = self._tested(test, column, other)
                changes |= found[1:] != found[:-1]
            if each.mask not in (0, ALL):
                np.bitwise_and(word, np.uint64(each.mask), out=column)
            if each.mask:
                changes |= column[1:] != column[:-1]

    @staticmethod
    def _tested(test: Bits, words: Words, other: Words) -> Words | Mask:
        """Return what a test compares: whether words pass, or the words of tails and else 0."""
        if test.only == "tails":
            # Bit 0 marks a tail: negated, it is a mask of all bits or of none.
            np.bitwise_and(words, np.uint64(1), out=other)
            np.negative(other, out=other)
            return np.bitwise_and(other, words, out=other)
        if test.mask != ALL:
            words = np.bitwise_and(words, np.uint64(test.mask), out=other)
        passed: Mask = words == np.uint64(test.equals or 0)
        return passed

    def _bounds(self, batches: Batches) -> Mask:
        """Return where runs begin at boundaries that are not visible in the struct pages."""
        first, n = batches.first, len(batches)
        begins = np.zeros(n, np.bool_)
        begins[-first % SECTION_PFNS :: SECTION_PFNS] = True
        zones, pcp = self._memory_map.zones, self._memory_map.pcp
        low, high = np.searchsorted(pcp.pfns, (first, first + n))
        starts = pcp.pfns[low:high]
        ends = starts + (1 << pcp.orders[low:high].astype(np.int64))
        edges = np.array([pfn for zone in zones for pfn in (zone.start, zone.end)], np.int64)
        asked = slice(*np.searchsorted(self._edges, (first, first + n)))
        pfns = np.concatenate((edges, starts, starts + 1, ends, self._edges[asked]))
        begins[pfns[(pfns >= first) & (pfns < first + n)] - first] = True
        for mask in (batches.readable, batches.wanted):
            if mask is not None:
                begins[1:] |= mask[1:] != mask[:-1]
        return begins

    def _position_bounds(
        self, batches: Batches, begins: Mask, offsets: Pfns, words: Words
    ) -> tuple[Pfns, bool]:
        """Return where more runs begin because of positions in folios and free blocks.

        Each head of a folio or a free block is a run of its own, and a run ends where the folio or
        block ends. A run of tails lies in one folio, and a tail with a type is a run of its own.
        The second value is whether a run was split into single pages, which must be examined again.
        """
        layout, n = self._layout, len(batches)
        lengths = np.diff(offsets, append=n)
        typed = layout.scheme.word(words[:, layout.page_type // 8], layout.page_type)
        free = np.flatnonzero(layout.scheme.slots(typed) == self._buddy)
        head = np.flatnonzero(words[:, layout.flags // 8] & self._head)
        compound = self._links(words)
        tails = np.flatnonzero(compound & np.uint64(1))
        pfns = batches.first + offsets[tails]
        of_first = tail_heads(layout, pfns, compound[tails])
        long = np.flatnonzero(lengths[tails] > 1)
        of_last = tail_heads(layout, pfns[long] + lengths[tails[long]] - 1, compound[tails[long]])
        apart = of_first[long] != of_last
        # The first page may point to itself: then it is not a tail, and the others are.
        apart |= of_first[long] == pfns[long]
        apart |= layout.scheme.readings(typed[tails[long]]) == Reading.TYPE
        edges = np.concatenate(
            (
                self._ends_of_blocks(offsets[free], words[free]),
                self._ends_of_folios(batches, offsets[head]),
                # The order of a folio that begins before the batch is not known here.
                _powers_beyond(each_once(of_first[of_first < batches.first]) - batches.first),
            )
        )
        alone = np.concatenate((free, head, tails[long[apart]]))
        alone = alone[lengths[alone] > 1]
        singles = np.repeat(offsets[alone], lengths[alone]) + ramp(lengths[alone])
        more = each_once(np.concatenate((edges[(edges > 0) & (edges < n)], singles)))
        more = more[~begins[more]]
        begins[more] = True
        return more, bool(len(alone))

    def _links(self, words: Words) -> Words:
        """Return the compound words; zeros, and so no tails, if this kernel has no such word."""
        at = self._layout.compound
        return np.zeros(len(words), np.uint64) if at is None else words[:, at // 8]

    def _ends_of_blocks(self, heads: Pfns, words: Words) -> Pfns:
        if self._layout.private is None:
            return heads + 1
        orders = np.minimum(words[:, self._layout.private // 8], np.uint64(MAX_ORDER))
        return heads + (1 << orders.astype(np.int64))

    @staticmethod
    def _have_tails(batches: Batches, heads: Pfns) -> Mask:
        """Return which heads have a next page in their memory section, as each real head has."""
        following = heads + 1
        have: Mask = following < len(batches)
        return have & ((batches.first + following) % SECTION_PFNS != 0)

    def _ends_of_folios(self, batches: Batches, heads: Pfns) -> Pfns:
        if self._layout.order is None:
            return heads + 1
        row, column = divmod(self._layout.order.offset // 8, self._layout.struct_size // 8)
        heads = heads[self._have_tails(batches, heads)]
        orders = orders_from(self._layout, batches.take(heads + row)[:, column])
        return heads + (1 << orders.astype(np.int64))


def _powers_beyond(offsets: Pfns) -> Pfns:
    return (offsets[:, None] + (1 << np.arange(LARGEST_ORDER + 1))).reshape(-1)
