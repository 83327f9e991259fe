# SPDX-License-Identifier: GPL-2.0-only
"""Keys that words of single struct pages hold: runs are cut where these words differ."""

from dataclasses import replace

import numpy as np
import pytest
from sections import columns
from synthetic import MEMDESC, MODERN, Memory

from pageinspect.classify.batches import Pfns
from pageinspect.classify.runs import in_runs
from pageinspect.model.batch import PageBatch, Words
from pageinspect.model.layout import PageLayout
from pageinspect.model.memory_map import MemoryMap
from pageinspect.owners.assign import Assigned, Assigner
from pageinspect.owners.kind import Label, claims_of_pfns
from pageinspect.owners.refine import refined
from pageinspect.owners.table import KINDS

FIRST = 0x1000
SLAB, ZSMALLOC = 0xF5000000, 0xF6000000
CACHES = (0xFFFF888000000100, 0xFFFF888000000200)

Piece = tuple[int, int, str, int]
"""Index of the first page, number of pages, kind and key."""


class Reads:
    """Reads struct pages again, and counts them."""

    def __init__(self, memory: Memory, lost: slice = slice(0)) -> None:
        self._words = memory.words.copy()
        self._words[lost] = 0
        self._first = memory.first
        self.pages = 0

    def __call__(self, starts: Pfns, ends: Pfns) -> Words:
        self.pages += int((ends - starts).sum())
        places = (
            slice(a, b) for a, b in zip(starts - self._first, ends - self._first, strict=True)
        )
        return np.concatenate([self._words[:0], *(self._words[place] for place in places)])


def runs(memory: Memory, reads: Reads | None = None, **claimed: int) -> list[Piece]:
    """Return the pieces of all pages but unknown ones; `claimed` are single pages by kind."""
    layout = memory.layout
    end = FIRST + len(memory.words)
    memory_map = MemoryMap(((FIRST, end),), ())
    claims = {
        kind: claims_of_pfns([(Label(kind), np.array([FIRST + i]))]) for kind, i in claimed.items()
    }
    assigner = Assigner(layout, claims)
    batch = PageBatch(FIRST, memory.words, memory.readable, None)
    found: list[Assigned] = []
    for part in in_runs(layout, memory_map, [batch], "owner", edges=assigner.edges):
        pages = columns(memory, memory_map, part)
        found.append(refined(pages, assigner(pages), reads or Reads(memory)))
        starts, lengths = found[-1].starts, found[-1].lengths
        assert (starts[1:] == starts[:-1] + lengths[:-1]).all()
        assert int(lengths.sum()) == len(memory.words)
    (one,) = found
    rows = zip(one.starts - FIRST, one.lengths, one.kinds, one.keys, strict=True)
    return [
        (int(start), int(n), KINDS[kind].name, int(key))
        for start, n, kind, key in rows
        if KINDS[kind].name != "unknown"
    ]


def slabs(*caches: int, layout: PageLayout = MODERN) -> Memory:
    memory = Memory(len(caches), layout)
    for i, cache in enumerate(caches):
        memory.word(i, SLAB).set(i, MODERN.slab_cache, cache)
    return memory


def test_a_run_of_single_pages_is_cut_by_cache() -> None:
    memory = slabs(CACHES[0], CACHES[0], CACHES[1], CACHES[0])
    reads = Reads(memory)
    assert runs(memory, reads) == [(i, 1, "slab", CACHES[i == 2]) for i in range(4)]
    assert reads.pages == 4


def test_a_compound_slab_is_one_piece_with_the_cache_of_its_head() -> None:
    memory = Memory(16)
    for at, order, cache in ((0, 3, CACHES[0]), (8, 2, CACHES[1])):
        memory.compound(at, order).word(at, SLAB).set(at, MODERN.slab_cache, cache)
    reads = Reads(memory)
    found = runs(memory, reads)
    pages = {start + i: key for start, n, _, key in found for i in range(n)}
    assert pages == {i: CACHES[i >= 8] for i in range(12)}
    assert len(found) < len(pages)
    # Only pages that nothing leads to are read again.
    assert reads.pages == 4


def test_each_kind_has_a_word_of_its_own() -> None:
    memory = Memory(3)
    memory.word(0, SLAB).set(0, MODERN.slab_cache, CACHES[0])
    memory.word(1, ZSMALLOC).set(1, MODERN.zspage, CACHES[1])
    memory.word(2, 0xFFFFFFFF, 1).set(2, MODERN.pp, 0xFFFF888000000300)
    memory.set(2, MODERN.compound, MODERN.page_pool[1])
    assert runs(memory) == [
        (0, 1, "slab", CACHES[0]),
        (1, 1, "zsmalloc", CACHES[1]),
        (2, 1, "page_pool", 0xFFFF888000000300),
    ]


def test_words_that_cannot_be_read_again_are_no_owner() -> None:
    memory = slabs(*CACHES, *CACHES)
    assert [key for *_, key in runs(memory, Reads(memory, slice(1, 3)))] == [
        CACHES[0],
        0,
        0,
        CACHES[1],
    ]


def test_pages_that_could_not_be_read_have_no_key() -> None:
    memory = slabs(*CACHES, *CACHES)
    memory.readable = np.array([True, False, False, True])
    memory.words[1:3] = 0
    assert runs(memory) == [
        (0, 1, "slab", CACHES[0]),
        (1, 2, "unreadable", 0),
        (3, 1, "slab", CACHES[1]),
    ]


def test_a_slab_whose_head_cannot_be_read_has_no_cache() -> None:
    # Its head is in the section before, of which this batch has nothing.
    layout = replace(MODERN, compound_mask=False)
    memory = Memory(4, layout)
    memory.words[:, layout.compound // 8] = layout.vmemmap + (FIRST - 4) * 64 + 1
    memory_map = MemoryMap(((FIRST - 4, FIRST + 4),), ())
    head = Memory(8, layout, FIRST - 4).compound(0, 3).word(0, SLAB)
    head.set(0, layout.slab_cache, CACHES[0])
    batch = PageBatch(FIRST, memory.words, None, None)
    pages = columns(head, memory_map, batch)
    found = refined(pages, Assigner(layout, {})(pages), Reads(memory))
    assert {KINDS[k].name for k in found.kinds.tolist()} == {"slab"}
    assert set(found.keys.tolist()) == {0}


@pytest.mark.parametrize("member", ["slab_cache", "zspage", "pp"])
def test_a_layout_without_the_word_has_no_keys(member: str) -> None:
    memory = Memory(2, replace(MODERN, **{member: None}))
    memory.word(0, SLAB).set(0, MODERN.slab_cache, CACHES[0])
    memory.word(1, ZSMALLOC).set(1, MODERN.zspage, CACHES[1])
    expected = {"slab_cache": [0, CACHES[1]], "zspage": [CACHES[0], 0], "pp": list(CACHES)}
    assert [key for *_, key in runs(memory)] == expected[member]


def test_memdescs_have_no_words() -> None:
    memory = Memory(3, MEMDESC)
    memory.words[:, MEMDESC.page_type // 8] = 0xFFFF888000000004
    assert runs(memory) == [(0, 3, "slab", 0)]


def test_pieces_that_need_no_word_are_left_as_they_are() -> None:
    memory = Memory(8).free_block(0, 3)
    reads = Reads(memory)
    assert [(n, kind) for _, n, kind, _ in runs(memory, reads)] == [(1, "free"), (7, "free")]
    assert reads.pages == 0


def test_claims_cut_runs() -> None:
    memory = Memory(5)
    for i in range(5):
        memory.word(i, 0xFFFFFFFF, 1)
    assert runs(memory, vmalloc=2) == [(2, 1, "vmalloc", 0)]
