# SPDX-License-Identifier: GPL-2.0-only
"""Sections of struct pages made by hand, sound and damaged."""

from collections.abc import Iterator

import numpy as np
from synthetic import HEAD, SIZE, Memory

from pageinspect.classify import Pages, head_pfns, outside_heads
from pageinspect.classify.batches import Batch
from pageinspect.classify.contradictions import CONTRADICTIONS
from pageinspect.model.arch import SECTION_PFNS
from pageinspect.model.batch import FolioHeads, PageBatch
from pageinspect.model.memory_map import MemoryMap, PcpLists, Zone

N = 4096
FIRST = 7 * 32768 + 32768 - N // 2
"""The middle of the memory made here is the end of a section."""
WORDS = (0xFFFFFFFF, 0, 3, 0xF5000000, 0xF2000000, 0xF6000007, 0xFFFFFF7F, 0x80000000, 0xFF000000)
FLAGS = (0, 1 << 5, 1 << 13, 1 << 17, 1 << 20, HEAD, 1 << 9, 1 << 54, 1 << 51, 1 << 17 | 1 << 10)
MAPPINGS = (
    *(0, 0xFFFF888000001001, 0xFFFF888000002000, 0xFFFF888000001003, 2, 0x400),
    *(0xFF11000000001001, 0xFF11000000002000, 0xFEFF888000002000, 0xFFFF000000001001),
)


def sound(memory: Memory, rng: np.random.Generator) -> None:
    """Fill with free blocks, folios and runs of small pages of many kinds."""
    at = 0
    while at < N:
        order = int(rng.integers(0, 8))
        at = -(-at >> order << order) if at % (1 << order) == 0 else (at >> order) + 1 << order
        if at + (1 << order) > N:
            break
        kind = int(rng.integers(0, 4))
        if kind == 0:
            memory.free_block(at, order)
        elif kind == 1 and order:
            memory.compound(at, order, mask=memory.layout.compound_mask)
            memory.word(at, int(rng.choice(WORDS[:4])), refcount=1)
        elif kind == 2:
            word, flags = int(rng.choice(WORDS)), int(rng.choice(FLAGS[:5]))
            for i in range(at, at + (1 << order)):
                memory.word(i, word, refcount=int(rng.integers(0, 2)))
                memory.set(i, 0, flags)
                memory.set(i, memory.layout.mapping, int(rng.choice(MAPPINGS)))
        at += 1 << order


def wounds(memory: Memory, rng: np.random.Generator) -> None:
    """Overwrite words of pages, and of short ranges of them."""
    layout = memory.layout
    link = layout.vmemmap + (FIRST + int(rng.integers(0, N))) * SIZE + 1
    values = {
        layout.flags: FLAGS,
        layout.compound: (0, 1, link, link, 0xDEAD000000000040, 0xFFFFFFFFFFFFF001),
        layout.mapping: MAPPINGS,
        layout.private: (0, 3, 9, 11, 1 << 40),
        layout.memcg: (0, 1),
        layout.page_type: tuple(word | count << 32 for word in WORDS for count in (0, 1)),
    }
    for _ in range(60):
        offset = list(values)[int(rng.integers(0, len(values)))]
        start = int(rng.integers(0, N))
        chosen = values[offset][int(rng.integers(0, len(values[offset])))]
        if chosen == 1:
            # Tails of the first of them.
            chosen = layout.vmemmap + (FIRST + start) * SIZE + 1
        memory.set(slice(start, start + int(rng.integers(1, 40))), offset, chosen)
    # Heads at the end of a section, with any order behind them.
    memory.set(N // 2 - int(rng.integers(1, 3)), layout.flags, HEAD)
    order = int(rng.integers(0, 22)) << 8 * (layout.order.offset % 8)
    memory.set(N // 2, layout.order.offset - SIZE, order)


def memory_map_of(rng: np.random.Generator) -> MemoryMap:
    pfns = np.unique(rng.integers(FIRST, FIRST + N, 30))
    lists = PcpLists(
        pfns.astype(np.int64),
        rng.integers(0, 3, len(pfns)).astype(np.uint8),
        np.zeros(len(pfns), np.uint16),
    )
    zones = (Zone(0, "A", FIRST, FIRST + 1500, 0), Zone(0, "B", FIRST + 1500, FIRST + N, 1))
    changing = bool(rng.integers(0, 2))
    return MemoryMap(((FIRST, FIRST + N),), zones, pcp=lists, changing=changing)


def columns(memory: Memory, memory_map: MemoryMap, batch: Batch) -> Pages:
    """Return the columns of a batch of the memory, with the heads of folios that lie outside."""
    heads = head_pfns(memory.layout, batch)
    outside = outside_heads(batch, heads)
    n, width = memory.words.shape
    outer = np.zeros((len(outside), 2 * width), np.uint64)
    read = np.ones((len(outside), 2), np.bool_)
    for row, pfn in enumerate(outside.tolist()):
        index = pfn - memory.first
        # Nothing follows at the end of a section.
        pair = slice(index, index + (2 if (pfn + 1) % SECTION_PFNS else 1))
        if 0 <= index < n:
            words = memory.words[pair]
            outer[row, : words.size] = words.reshape(-1)
            if memory.readable is not None:
                read[row, : len(words)] = memory.readable[pair]
    return Pages(memory.layout, memory_map, batch, heads, outside, FolioHeads(outer, read))


def by_section(batch: PageBatch) -> Iterator[PageBatch]:
    """Yield the parts of a batch that lie in one memory section each."""
    edges = [0, *range(-batch.first % SECTION_PFNS or SECTION_PFNS, len(batch), SECTION_PFNS)]
    for start, end in zip(edges, [*edges[1:], len(batch)], strict=True):
        part = slice(start, end)
        readable = None if batch.readable is None else batch.readable[part]
        wanted = None if batch.wanted is None else batch.wanted[part]
        yield PageBatch(batch.first + start, batch.words[part], readable, wanted)


def said(pages: Pages, *, rules: bool, uses: bool) -> dict[str, np.ndarray]:
    """Return what is known of each pfn."""
    names = ["code", "order", "head", "freeing", "zone", "node", *(["use"] if uses else [])]
    known = {name: np.repeat(getattr(pages, name), pages.lengths) for name in names}
    for rule in CONTRADICTIONS if rules else ():
        broken = np.zeros(len(pages), np.bool_)
        broken[rule.broken(pages)] = True
        known[rule.name] = np.repeat(broken, pages.lengths)
    for name in ("readable", "wanted"):
        mask = getattr(pages.batch, name)
        mask = np.ones(len(pages), np.bool_) if mask is None else mask
        known[name] = np.repeat(mask, pages.lengths)
    return known
