# SPDX-License-Identifier: GPL-2.0-only
"""Pages that nothing leads to, of a kernel that keeps who allocated them."""

import numpy as np
from sections import columns
from synthetic import MODERN, Memory, flag

from pageinspect.classify.batches import Pfns
from pageinspect.classify.runs import in_runs
from pageinspect.model.allocations import ALLOCATED_AT, is_site
from pageinspect.model.batch import PageBatch, Words
from pageinspect.model.memory_map import MemoryMap
from pageinspect.owners.assign import Assigner
from pageinspect.owners.kind import Keys
from pageinspect.owners.refine import ReadSites, refined
from pageinspect.owners.table import KINDS

FIRST = 0x1000
FREE, LARGE_KMALLOC = 0xFFFFFFFF, 0xF8000000
PRIVATE = flag("owner_priv_1")


def owners(memory: Memory, read_sites: ReadSites | None) -> list[tuple[str, int]]:
    """Return kind and key of each page."""
    memory_map = MemoryMap(((FIRST, FIRST + len(memory.words)),), ())
    assigner = Assigner(memory.layout, {})

    def read_words(starts: Pfns, ends: Pfns) -> Words:
        places = [slice(a - FIRST, b - FIRST) for a, b in zip(starts, ends, strict=True)]
        return np.concatenate([memory.words[:0], *(memory.words[place] for place in places)])

    batch = PageBatch(FIRST, memory.words, memory.readable, None)
    found: list[tuple[str, int]] = []
    for part in in_runs(memory.layout, memory_map, [batch], "owner", edges=assigner.edges):
        pages = columns(memory, memory_map, part)
        pieces = refined(pages, assigner(pages), read_words, read_sites)
        rows = zip(pieces.lengths.tolist(), pieces.kinds, pieces.keys.tolist(), strict=True)
        found += [(KINDS[kind].name, key) for n, kind, key in rows for _ in range(n)]
    return found


class Sites:
    """Sites by the index of a page; keeps the flags that each was asked with."""

    def __init__(self, sites: dict[int, int]) -> None:
        self._sites = sites
        self.flags: dict[int, int] = {}

    def __call__(self, pfns: Pfns, flags: Keys) -> Keys:
        indices = (pfns - FIRST).tolist()
        self.flags |= dict(zip(indices, flags.tolist(), strict=True))
        return np.array([self._sites.get(i, 0) for i in indices], np.uint64)


def test_pages_without_a_site_keep_their_signature() -> None:
    memory = Memory(4)
    for i in range(4):
        memory.word(i, FREE, 1)
    plain = owners(memory, None)
    assert not any(is_site(key) for _, key in plain)
    site = ALLOCATED_AT | 7
    assert owners(memory, Sites({2: site})) == [*plain[:2], ("unknown", site), plain[3]]


def test_pages_of_one_allocation_have_the_site_of_the_first() -> None:
    """One with a page that has references, and pages behind it that have none."""
    memory = Memory(8)
    memory.word(0, FREE, 1)
    memory.word(4, FREE, 1)
    site, other, own = (ALLOCATED_AT | n for n in (7, 8, 9))
    found = owners(memory, Sites({0: site, 4: other, 6: own}))
    assert [key for _, key in found] == [site] * 4 + [other, other, own, other]


def test_the_tag_of_the_first_page_is_that_of_the_stacks_behind_it() -> None:
    memory = Memory(4)
    memory.word(0, FREE, 1)
    tag, other = 0xFFFFFFFF82000000, 0xFFFFFFFF82000100
    found = owners(memory, Sites({0: tag, 1: ALLOCATED_AT | 7, 2: other}))
    assert [key for _, key in found] == [tag, tag, other, tag]


def test_a_large_allocation_has_the_site_of_its_head() -> None:
    memory = Memory(16)
    memory.compound(0, 3).word(0, LARGE_KMALLOC)
    memory.compound(8, 2).word(8, LARGE_KMALLOC)
    memory.compound(12, 2).word(12, LARGE_KMALLOC)
    sites = Sites({0: 1 << 63 | 5, 12: 0xFFFFFFFF82000000})
    assert owners(memory, sites) == [
        *[("large_kmalloc", 1 << 63 | 5)] * 8,
        *[("large_kmalloc", 2)] * 4,
        *[("large_kmalloc", 0xFFFFFFFF82000000)] * 4,
    ]


def test_sites_are_read_with_the_flags_of_their_pages() -> None:
    memory = Memory(12)
    memory.word(0, FREE, 1)
    memory.words[0, 0] |= np.uint64(PRIVATE)
    memory.word(1, FREE, 1)
    memory.compound(8, 2).word(8, LARGE_KMALLOC)
    memory.words[8, 0] |= np.uint64(1 << 60)
    sites = Sites({})
    owners(memory, sites)
    assert sites.flags[0] == PRIVATE
    assert sites.flags[1] == 0
    assert sites.flags[8] == 1 << 60 | flag("head")
    assert MODERN.flags == 0
