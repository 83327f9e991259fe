# SPDX-License-Identifier: GPL-2.0-only
"""Struct pages and heads of folios, read from memory with holes."""

import numpy as np
import pytest
from drgn import Architecture, FaultError, Platform, Program
from synthetic import MODERN, VMEMMAP, replace

from pageinspect.model.arch import SECTION_PFNS
from pageinspect.vmemmap.reader import read_folio_heads, read_words, walk


def memory(size: int, first: int, holes: set[int]) -> Program:
    """Return a Program with 4096 struct pages of `size` bytes from pfn `first`, but for holes.

    Each word says in which struct page it is; the pages of memory numbered in `holes` are absent.
    """
    start = VMEMMAP + first * size
    data = np.repeat(np.arange(first, first + 4096, dtype=np.uint64), size // 8).tobytes()
    prog = Program(Platform(Architecture.X86_64))

    def read(address: int, count: int, _offset: int, _physical: bool) -> bytes:
        pages = range(address // 4096, (address + count - 1) // 4096 + 1)
        if any(page - start // 4096 in holes for page in pages):
            raise FaultError("a hole", address)
        return data[address - start : address - start + count]

    prog.add_memory_segment(start, len(data), read)
    return prog


@pytest.mark.parametrize("size", [56, 64, 72, 80, 128])
@pytest.mark.parametrize("first", [0, 1000])
def test_struct_pages_of_any_size_around_holes(size: int, first: int) -> None:
    layout = replace(MODERN, struct_size=size)
    holes = {3, 4, 17}
    span = [(first, first + 4096)]
    (batch,) = walk(memory(size, first, holes), layout, span, span)
    assert batch.words.shape == (4096, size // 8)
    base = VMEMMAP + first * size
    for i in range(4096):
        begin = base + i * size
        touched = {(at - base // 4096 * 4096) // 4096 for at in (begin, begin + size - 1)}
        whole = not touched & holes
        assert batch.readable is not None
        assert batch.readable[i] == whole, i
        assert set(batch.words[i].tolist()) == {first + i if whole else 0}


@pytest.mark.parametrize(
    ("pieces", "reads"),
    [
        ([], 0),
        ([(5, 6)], 1),
        ([(0, 1), (1, 3), (6, 7), (71, 80)], 1),
        ([(0, 1), (66, 67)], 2),
        ([(1990, 1995), (2000, 2001), (2003, 2010)], 2),
    ],
    ids=["none", "one", "near", "apart", "of two sections"],
)
def test_words_of_ranges(pieces: list[tuple[int, int]], reads: int) -> None:
    first = SECTION_PFNS - 2000
    starts, ends = np.array(pieces, np.int64).reshape(-1, 2).T + first
    prog = Counting(memory(64, first, set()))
    words = read_words(prog, MODERN, starts, ends)
    pfns = [first + pfn for piece in pieces for pfn in range(*piece)]
    assert words.tolist() == [[pfn] * 8 for pfn in pfns]
    assert prog.reads == reads


def test_words_between_unreadable_struct_pages() -> None:
    prog = memory(64, 0, {1})
    words = read_words(prog, MODERN, np.array([60, 70, 120]), np.array([66, 71, 130]))
    assert words[:, 0].tolist() == [60, 61, 62, 63, 0, 0, 0, *[0] * 8, 128, 129]


class Counting:
    """A Program that counts reads."""

    def __init__(self, prog: Program) -> None:
        self._prog = prog
        self.reads = 0

    def read(self, address: int, size: int) -> bytes:
        self.reads += 1
        return self._prog.read(address, size)


def test_heads_without_number_are_not_all_read() -> None:
    reads = 0
    prog = Program(Platform(Architecture.X86_64))

    def read(_address: int, count: int, _offset: int, _physical: bool) -> bytes:
        nonlocal reads
        reads += 1
        return bytes(count)

    prog.add_memory_segment(VMEMMAP, 1 << 40, read)
    heads = read_folio_heads(prog, MODERN, np.arange(0, 60000, 2, dtype=np.int64))
    assert heads.words.shape == (30000, 16)
    assert heads.readable is None
    assert reads <= 64


def test_heads_that_cannot_be_read_are_marked() -> None:
    prog = Program(Platform(Architecture.X86_64))
    # The struct pages of the pfns up to 64, and from 128 on.
    for start, size in ((0, 4096), (8192, 1 << 20)):
        prog.add_memory_segment(VMEMMAP + start, size, lambda _a, n, _o, _p: bytes([7]) * n)
    heads = read_folio_heads(prog, MODERN, np.array([8, 63, 64, 127, 128]))
    assert heads.readable is not None
    assert heads.readable.tolist() == [
        [True, True],
        [True, False],
        [False, False],
        [False, True],
        [True, True],
    ]


def test_nothing_follows_a_head_at_the_end_of_a_section() -> None:
    prog = Program(Platform(Architecture.X86_64))
    size = SECTION_PFNS * MODERN.struct_size
    prog.add_memory_segment(VMEMMAP, 2 * size, lambda _a, n, _o, _p: bytes([7]) * n)
    heads = read_folio_heads(prog, MODERN, np.array([SECTION_PFNS - 1, SECTION_PFNS]))
    assert heads.words.any(axis=1).all()
    assert heads.word(MODERN.struct_size).astype(bool).tolist() == [False, True]


ONE_SECTION = [(0, SECTION_PFNS)]


class Tables:
    """Stands for page tables that map some pages of the vmemmap."""

    def __init__(self, mapped: list[range], *, readable: bool = True) -> None:
        self.mapped = mapped
        self.readable = readable

    def frames(self, first: int, end: int) -> np.ndarray:
        if not self.readable:
            raise FaultError("no table", 0)
        pages = np.arange(first, end) - VMEMMAP // 4096
        there = np.logical_or.reduce([(pages >= r.start) & (pages < r.stop) for r in self.mapped])
        return np.where(there, 4096 * pages, -1)


def mapped_memory(there: list[range]) -> tuple[Program, list[int]]:
    """Return a Program with pages of the vmemmap, and where it was asked to read."""
    prog, asked = Program(Platform(Architecture.X86_64)), []

    def read(address: int, count: int, _offset: int, _physical: bool) -> bytes:
        asked.append(address)
        first, last = (at // 4096 - VMEMMAP // 4096 for at in (address, address + count - 1))
        if not any(r.start <= first and last < r.stop for r in there):
            raise FaultError("a hole", address)
        return bytes([7]) * count

    prog.add_memory_segment(VMEMMAP, 2 << 20, read)
    return prog, asked


@pytest.mark.parametrize(
    "there",
    [[range(0)], [range(3, 100)], [range(7), range(9, 11), range(400, 512)], [range(512)]],
)
def test_what_page_tables_do_not_map_is_not_looked_for(there: list[range]) -> None:
    found = []
    for tables in (None, Tables(there), Tables(there, readable=False)):
        prog, asked = mapped_memory(there)
        (batch,) = walk(prog, MODERN, ONE_SECTION, ONE_SECTION, tables=tables)  # type: ignore[arg-type]
        readable = None if batch.readable is None else batch.readable.tolist()
        found.append((batch.words.tobytes(), readable, len(asked)))
    assert found[0][:2] == found[1][:2] == found[2][:2]
    assert found[1][2] <= 1 + len(there)
    assert found[0][2] == found[2][2]
