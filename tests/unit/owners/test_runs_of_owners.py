# SPDX-License-Identifier: GPL-2.0-only
"""Owners of runs are the owners of their pages, whatever struct pages and structures contain."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sections import FIRST, N, by_section, columns, memory_map_of, sound, wounds
from synthetic import MODERN, OLD, SCHEMES, Memory

from pageinspect.classify.batches import Batch, Pfns
from pageinspect.classify.details import Detail
from pageinspect.classify.runs import in_runs
from pageinspect.classify.words import HEAD_MEMCG
from pageinspect.model.batch import PageBatch, Words
from pageinspect.model.memory_map import MemoryMap
from pageinspect.owners.assign import Assigner
from pageinspect.owners.counts import OwnerSums, count
from pageinspect.owners.kind import Claims, Label, claims_of_ranges
from pageinspect.owners.refine import refined
from pageinspect.owners.table import KINDS

LAYOUTS = {
    "modern": MODERN,
    "old": OLD,
    "masks": replace(MODERN, compound_mask=True, fake_heads=False),
    "6.11": replace(MODERN, scheme=SCHEMES["6.11"]),
    "no words": replace(MODERN, slab_cache=None, pp=None, zspage=None),
}
CLAIMING = [kind.name for kind in KINDS if kind.claims is not None]
CGROUPS = (0, 0xFFFF888000000040, 0xFFFF888000000080)


def owned(memory: Memory, rng: np.random.Generator) -> None:
    """Put allocations without a type, pages of slabs, and words that lead to owners."""
    layout = memory.layout
    for _ in range(40):
        start, order = int(rng.integers(0, N - 64)), int(rng.integers(0, 6))
        if rng.integers(0, 3):
            start = start >> order << order
        block = slice(start, start + int(rng.integers(1, (1 << order) + 2)))
        memory.words[block] = 0
        for i in range(block.start, block.stop):
            memory.word(i, 0xFFFFFFFF)
        if rng.integers(0, 4):
            memory.word(start, int(rng.choice((0xFFFFFFFF, 2))), 1)
    for _ in range(40):
        start = int(rng.integers(0, N - 8))
        for i in range(start, start + int(rng.integers(1, 8))):
            memory.word(i, int(rng.choice((0xF5000000, 0xF6000000))))
            memory.set(i, 8, 0xFFFF888000000000 | int(rng.integers(0, 3)) << 8)
    for _ in range(20):
        start = int(rng.integers(0, N - 200))
        place = slice(start, start + int(rng.integers(1, 200)))
        memory.set(place, layout.memcg, int(rng.choice(CGROUPS)))


def random_claims(rng: np.random.Generator) -> dict[str, Claims]:
    found = {}
    for kind in rng.choice(CLAIMING, 5, replace=False).tolist():
        starts = FIRST - 50 + rng.integers(0, N, int(rng.integers(0, 12)))
        ends = starts + rng.integers(0, 300, len(starts))
        parts = zip(starts.tolist(), ends.tolist(), strict=True)
        found[kind] = claims_of_ranges((Label(str(i % 3)), [r]) for i, r in enumerate(parts))
    return found


@dataclass
class Kernel:
    """Memory of one kernel, and who claims it."""

    memory: Memory
    memory_map: MemoryMap
    claims: dict[str, Claims]
    whole: PageBatch

    def read_words(self, starts: Pfns, ends: Pfns) -> Words:
        ranges = zip(starts - FIRST, ends - FIRST, strict=True)
        return np.concatenate([self.memory.words[:0], *(self.memory.words[a:b] for a, b in ranges)])

    def in_runs(self, batches: Iterable[PageBatch], detail: Detail) -> Iterator[Batch]:
        edges = Assigner(self.memory.layout, self.claims).edges
        return in_runs(self.memory.layout, self.memory_map, batches, detail, edges=edges)

    def owners(
        self, batches: Iterable[Batch], *, cgroups: bool = True
    ) -> tuple[list[tuple[str, int, int, int]], np.ndarray, OwnerSums]:
        """Return (kind, key, cgroup, pfn) of each wanted page; the overlaps; and counts."""
        assigner = Assigner(self.memory.layout, self.claims)
        each: list[tuple[str, int, int, int]] = []
        sums = OwnerSums()
        for batch in batches:
            pages = columns(self.memory, self.memory_map, batch)
            pieces = refined(pages, assigner(pages), self.read_words)
            if batch.wanted is not None:
                pieces = pieces.where(batch.wanted[pieces.rows])
            groups = np.zeros(len(pieces.rows), np.uint64)
            if cgroups:
                groups = pages.read(HEAD_MEMCG)[pieces.rows]
            sums.add(count(pieces, groups))
            rows = (pieces.kinds, pieces.keys, groups, pieces.starts, pieces.lengths)
            for kind, key, group, start, n in zip(*(r.tolist() for r in rows), strict=True):
                each += ((KINDS[kind].name, key, group, start + i) for i in range(n))
        return each, assigner.tally.overlaps, sums


def made(seed: int, layout: str, *, damaged: bool) -> Kernel:
    rng = np.random.default_rng(seed)
    memory = Memory(N, LAYOUTS[layout], FIRST)
    sound(memory, rng)
    owned(memory, rng)
    if damaged:
        wounds(memory, rng)
    readable = wanted = None
    if seed % 3 == 1:
        readable = np.ones(N, np.bool_)
        readable[1000:1064] = False
        memory.words[1000:1064] = 0
    if seed % 3 == 2:
        wanted = np.zeros(N, np.bool_)
        wanted[123:3210] = True
    memory.readable = readable
    whole = PageBatch(FIRST, memory.words, readable, wanted)
    return Kernel(memory, memory_map_of(rng), random_claims(rng), whole)


@pytest.mark.parametrize("detail", ["owner", "cgroup"])
@given(seed=st.integers(0, 1 << 32), layout=st.sampled_from([*LAYOUTS]), damaged=st.booleans())
@settings(max_examples=15, deadline=None)
def test_owners_of_runs_are_those_of_pages(
    detail: Detail, seed: int, layout: str, damaged: bool
) -> None:
    kernel = made(seed, layout, damaged=damaged)
    cgroups = detail == "cgroup"
    expected, overlaps, _ = kernel.owners(by_section(kernel.whole), cgroups=cgroups)
    wanted = N if kernel.whole.wanted is None else int(kernel.whole.wanted.sum())
    assert [pfn for *_, pfn in expected] == sorted({pfn for *_, pfn in expected})
    assert len(expected) == wanted
    for batches in ([kernel.whole], list(by_section(kernel.whole))):
        by_run = kernel.in_runs(batches, detail)
        found, found_overlaps, sums = kernel.owners(by_run, cgroups=cgroups)
        differ = [(a, b) for a, b in zip(found, expected, strict=True) if a != b]
        assert not differ, differ[:3]
        assert (found_overlaps == overlaps).all()
        assert sums.counts().total == wanted


def test_claims_that_begin_before_and_end_after_a_batch() -> None:
    kernel = made(3, "modern", damaged=False)
    kernel.claims = {"vmalloc": claims_of_ranges([(Label("a"), [(0, FIRST + 2 * N)])])}
    each, _, _ = kernel.owners(kernel.in_runs([kernel.whole], "owner"), cgroups=False)
    keys = {key for kind, key, *_ in each if kind == "vmalloc"}
    assert (len(each), keys) == (N, {0})
