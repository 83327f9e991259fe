# SPDX-License-Identifier: GPL-2.0-only
"""Reads the vmemmap, one memory section at a time. Struct pages are not interpreted here."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from drgn import FaultError, Program

from ..model.arch import PAGE_SIZE, SECTION_PFNS
from ..model.batch import FolioHeads, PageBatch, Words
from ..model.layout import PageLayout
from ..model.ranges import Range, intersect
from ..target.page_tables import PageTables
from .elf_mmap import MappedVmemmap

_MAX_HEADS = 64
"""Heads outside a batch that are read at most: one folio can extend into it, more are damage."""

_NEAR = 64
"""Ranges of struct pages with up to this many between them are read together."""

# OSError: the disk with the core has a bad block, or the guest has ended.
_UNREADABLE = (FaultError, OSError)


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
    """Return the mapped parts of a virtual memory range, as (start, end) relative to `address`.

    The whole range if page tables are not available. This check saves about a thousand failing
    reads for an unmapped section.
    """
    everything = [(0, length)]
    if tables is None:
        return everything
    first, end = address // PAGE_SIZE, -(-(address + length) // PAGE_SIZE)
    try:
        mapped = tables.frames(first, end) >= 0
    except _UNREADABLE:
        return everything
    edges = np.flatnonzero(np.diff(mapped, prepend=False, append=False))
    places = (edges * PAGE_SIZE + (first * PAGE_SIZE - address)).tolist()
    return intersect(list(zip(places[::2], places[1::2], strict=True)), everything)


def _read_around_holes(
    prog: Program, address: int, n: int, size: int, pieces: list[Range]
) -> tuple[bytearray, npt.NDArray[np.bool_]]:
    """Read the pieces, and bisect those that cannot be read, down to single pages.

    Returns the bytes and which struct pages are readable. Unreadable pages and bytes in no piece
    are zeros.
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
            first, last = (address + start) // PAGE_SIZE, (address + end - 1) // PAGE_SIZE
            if first == last:
                readable[start // size : -(-end // size)] = False
            else:
                middle = (first + last + 1) // 2 * PAGE_SIZE - address
                pieces += [(start, middle), (middle, end)]
    # If its size is not a power of two, a struct page may be partly readable.
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
    """Yield the PageBatches of every memory section with a wanted pfn, in order of pfn.

    `spanned` and `wanted` are sorted disjoint (start, end) pfns, end exclusive. A batch has the
    spanned struct pages of one section, so that it contains free blocks, and folios except gigantic
    ones, completely. With `mapped`, words may be read-only views of a file. `tables` are page
    tables of a kernel that is not running.
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
    """Yield the first pfn of every section that the ranges overlap, once each."""
    last = -1
    for start, end in ranges:
        for number in range(max(start // SECTION_PFNS, last + 1), -(-end // SECTION_PFNS)):
            last = number
            yield number * SECTION_PFNS


def read_words(
    prog: Program,
    layout: PageLayout,
    starts: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    mapped: MappedVmemmap | None = None,
) -> Words:
    """Return the words of the struct pages in ranges of pfns, (pages, words per struct page).

    The ranges are sorted and disjoint. Unreadable struct pages are zeros.
    """
    found = [np.empty((0, layout.struct_size // 8), np.uint64)]
    apart = starts[1:] - ends[:-1] > _NEAR
    apart |= starts[1:] // SECTION_PFNS != starts[:-1] // SECTION_PFNS
    edges = [0, *(np.flatnonzero(apart) + 1).tolist(), len(starts)]
    for low, high in pairwise(edges if len(starts) else ()):
        first, n = int(starts[low]), int(ends[high - 1] - starts[low])
        words = None if mapped is None else mapped.read(first, n)
        if words is None:
            words = _read(prog, layout, first, n)[0]
        if high - low > 1:
            steps = np.zeros(n + 1, np.int8)
            steps[starts[low:high] - first] += 1
            steps[ends[low:high] - first] -= 1
            words = words[np.cumsum(steps[:n], dtype=np.int8) > 0]
        found.append(words)
    return np.concatenate(found)


def read_folio_heads(prog: Program, layout: PageLayout, pfns: npt.NDArray[np.int64]) -> FolioHeads:
    """Read the first two struct pages of the folios whose heads are at `pfns`.

    Used for heads of gigantic folios, which may be outside the batch of their tails. Zeros are
    returned for unreadable struct pages, for folios after the first _MAX_HEADS, and for struct
    pages beyond the end of the head's memory section.
    """
    words = np.zeros((len(pfns), 2, layout.struct_size // 8), np.uint64)
    readable = np.ones((len(pfns), 2), np.bool_)
    for i, pfn in enumerate(pfns[:_MAX_HEADS].tolist()):
        n = min(2, SECTION_PFNS - pfn % SECTION_PFNS)
        words[i, :n], mask = _read(prog, layout, pfn, n)
        if mask is not None:
            readable[i, :n] = mask
    both = words.reshape(len(pfns), 2 * layout.struct_size // 8)
    return FolioHeads(both, None if readable.all() else readable)
