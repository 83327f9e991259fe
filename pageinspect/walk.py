"""Bulk reads of the vmemmap, a whole memory section at a time; interprets nothing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program

from .layout import SECTION_PFNS, PageLayout
from .mapped import MappedVmemmap
from .page_tables import PageTables
from .ranges import Range, intersect

Words = npt.NDArray[np.uint64]

_FINEST = 4096
"""Bytes of vmemmap that are readable or not as one: a page of memory."""

_MOST_HEADS = 64
"""Heads outside a batch that are read: one folio can reach into it, more say damaged memory."""

# OSError: the core's disk has a bad block, or the guest that is looked at ended.
_UNREADABLE = (FaultError, OSError)


@dataclass(frozen=True, slots=True)
class PageBatch:
    """The struct pages of consecutive pfns.

    `words` is (n, sizeof(struct page)/8) uint64. `readable` and `wanted` are (n,) bool: whether the
    struct page could be read (its words are 0 where not), and whether the pfn was asked for; None
    means all of them.
    """

    first: int
    words: Words
    readable: npt.NDArray[np.bool_] | None
    wanted: npt.NDArray[np.bool_] | None

    def __len__(self) -> int:
        return len(self.words)

    @property
    def size(self) -> int:
        """The number of pfns."""
        return len(self.words)

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """Where each row begins, from `first`: it has a page each. See RunBatch."""
        return np.arange(len(self.words))

    @property
    def pfns(self) -> npt.NDArray[np.int64]:
        """The pfn of each row."""
        return np.arange(self.first, self.first + len(self.words))

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The number of pages of each row."""
        return np.ones(len(self.words), np.int64)

    def rows(self, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the rows of these pages, by their offset from `first`."""
        return offsets

    def word(self, offset: int) -> Words:
        """Return the 64-bit words at byte `offset` from each struct page, (n,) uint64.

        An offset beyond the struct page reads the next one; the last has none and reads 0.
        """
        width = self.words.shape[1]
        if offset < 8 * width:
            return self.words[:, offset // 8]
        following = np.zeros(len(self.words), np.uint64)
        following[:-1] = self.words[1:, offset // 8 - width]
        return following


@dataclass(frozen=True, slots=True)
class FolioHeads:
    """The first two struct pages of folios anywhere: `words` is (k, 2 * words a page) uint64.

    `readable` is (k, 2) bool: which of the two could be read; None means all of them.
    """

    words: Words
    readable: npt.NDArray[np.bool_] | None = None

    def word(self, offset: int) -> Words:
        """Return the 64-bit words at byte `offset` from each folio's head, (k,) uint64."""
        return self.words[:, offset // 8]


def _read(
    prog: Program, layout: PageLayout, first: int, n: int, tables: PageTables | None = None
) -> tuple[Words, npt.NDArray[np.bool_] | None]:
    """Return the words of n struct pages, and which are readable (None: all)."""
    size = layout.struct_size
    address = layout.vmemmap + first * size
    try:
        data: bytes | bytearray = prog.read(address, n * size)
        readable = None
    except _UNREADABLE:
        pieces = _mapped_pieces(tables, address, n * size)
        data, readable = _read_around_holes(prog, address, n, size, pieces)
    return np.frombuffer(data, np.uint64).reshape(n, size // 8), readable


def _mapped_pieces(tables: PageTables | None, address: int, length: int) -> list[Range]:
    """Return what of some virtual memory is mapped, as (start, end) from its address.

    All of it where that is not known. To look saves a thousand reads for a section that is not.
    """
    everything = [(0, length)]
    if tables is None:
        return everything
    first, end = address // _FINEST, -(-(address + length) // _FINEST)
    try:
        mapped = tables.frames(first, end) >= 0
    except _UNREADABLE:
        return everything
    edges = np.flatnonzero(np.diff(mapped, prepend=False, append=False))
    places = (edges * _FINEST + (first * _FINEST - address)).tolist()
    return intersect(list(zip(places[::2], places[1::2], strict=True)), everything)


def _read_around_holes(
    prog: Program, address: int, n: int, size: int, pieces: list[Range]
) -> tuple[bytearray, npt.NDArray[np.bool_]]:
    """Halve the pieces that cannot be read until the holes are told from the rest.

    Holes, and what is in no piece, read as zeros.
    """
    data = bytearray(n * size)
    readable = np.ones(n, np.bool_)
    starts, ends = [start for start, _ in pieces], [end for _, end in pieces]
    for start, end in zip([0, *ends], [*starts, len(data)], strict=True):
        if start < end:
            readable[start // size : -(-end // size)] = False
    while pieces:
        start, end = pieces.pop()
        try:
            data[start:end] = prog.read(address + start, end - start)
        except _UNREADABLE:
            first, last = (address + start) // _FINEST, (address + end - 1) // _FINEST
            if first == last:
                readable[start // size : -(-end // size)] = False
            else:
                middle = (first + last + 1) // 2 * _FINEST - address
                pieces += [(start, middle), (middle, end)]
    # A struct page that is no power of two may be readable in part.
    np.frombuffer(data, np.uint64).reshape(n, -1)[~readable] = 0
    return data, readable


def _wanted(batch_start: int, n: int, ranges: Sequence[Range]) -> npt.NDArray[np.bool_] | None:
    inside = intersect(ranges, [(batch_start, batch_start + n)])
    if inside == [(batch_start, batch_start + n)]:
        return None
    wanted = np.zeros(n, np.bool_)
    for start, end in inside:
        wanted[start - batch_start : end - batch_start] = True
    return wanted


def walk(
    prog: Program,
    layout: PageLayout,
    spanned: Sequence[Range],
    wanted: Sequence[Range],
    mapped: MappedVmemmap | None = None,
    tables: PageTables | None = None,
) -> Iterator[PageBatch]:
    """Yield the PageBatches of every memory section that holds a wanted pfn, in order.

    `spanned` and `wanted` are sorted disjoint (start, end) pfns, end exclusive. A batch is what one
    section has of struct pages, so that free blocks and all but gigantic folios are whole in it.
    With `mapped`, words may be a view of a file, read-only. `tables` are those of a kernel that
    stands still.
    """
    for section in _sections(wanted):
        for start, end in intersect(spanned, [(section, section + SECTION_PFNS)]):
            asked = _wanted(start, end - start, wanted)
            if asked is None or asked.any():
                words = None if mapped is None else mapped.read(start, end - start)
                readable = None
                if words is None:
                    words, readable = _read(prog, layout, start, end - start, tables)
                yield PageBatch(start, words, readable, asked)


def _sections(ranges: Sequence[Range]) -> Iterator[int]:
    """Yield the first pfn of every section that the ranges touch, once each."""
    last = -1
    for start, end in ranges:
        for number in range(max(start // SECTION_PFNS, last + 1), -(-end // SECTION_PFNS)):
            last = number
            yield number * SECTION_PFNS


def read_folio_heads(prog: Program, layout: PageLayout, pfns: npt.NDArray[np.int64]) -> FolioHeads:
    """Read the folios whose heads are at `pfns`, what cannot be read as zeros.

    For the heads of gigantic folios, which lie outside the batch of their tails: a few at most, and
    what lies beyond _MOST_HEADS is not looked for, and zeros. So is what follows the end of a
    memory section, where no folio begins.
    """
    words = np.zeros((len(pfns), 2, layout.struct_size // 8), np.uint64)
    readable = np.ones((len(pfns), 2), np.bool_)
    for i, pfn in enumerate(pfns[:_MOST_HEADS].tolist()):
        n = min(2, SECTION_PFNS - pfn % SECTION_PFNS)
        words[i, :n], mask = _read(prog, layout, pfn, n)
        if mask is not None:
            readable[i, :n] = mask
    both = words.reshape(len(pfns), 2 * layout.struct_size // 8)
    return FolioHeads(both, None if readable.all() else readable)
