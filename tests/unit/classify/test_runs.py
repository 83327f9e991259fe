# SPDX-License-Identifier: GPL-2.0-only
"""Runs say of every page what its own columns say, of sound memory and of memory gone wrong."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from sections import FIRST, N, by_section, columns, memory_map_of, said, sound, wounds
from synthetic import HEAD, MODERN, OLD, SCHEMES, SIZE, Memory

from pageinspect.classify import Pages, head_pfns, runs
from pageinspect.classify.contradictions import CONTRADICTIONS
from pageinspect.classify.runs import Detail, in_runs
from pageinspect.model.arch import SECTION_PFNS
from pageinspect.model.batch import FolioHeads, PageBatch
from pageinspect.model.layout import PageLayout
from pageinspect.model.memory_map import MemoryMap

LAYOUTS = {
    "modern": MODERN,
    "old": OLD,
    "masks": replace(MODERN, compound_mask=True, fake_heads=False),
    "6.11": replace(MODERN, scheme=SCHEMES["6.11"]),
    "five levels": replace(MODERN, vmemmap=0xFFD4000000000000, kernel_half=0xFF00000000000000),
}
NONE = FolioHeads(np.empty((0, 2 * SIZE // 8), np.uint64))


@pytest.mark.parametrize("name", list(LAYOUTS))
@pytest.mark.parametrize("wounded", [False, True])
@pytest.mark.parametrize("seed", range(12))
def test_runs_say_what_pages_say(
    name: str, wounded: bool, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed % 2:
        # No two sections are decoded together.
        monkeypatch.setattr(runs, "_MOST_ROWS", 0)
    rng = np.random.default_rng(seed)
    layout = LAYOUTS[name]
    memory = Memory(N, layout, FIRST)
    sound(memory, rng)
    if wounded:
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
    memory_map = memory_map_of(rng)
    for detail in ("type", "use", "all"):
        asked = {"rules": detail == "all", "uses": detail != "type"}
        plain = [said(columns(memory, memory_map, b), **asked) for b in by_section(whole)]
        expected = {key: np.concatenate([part[key] for part in plain]) for key in plain[0]}
        for batches in ([whole], list(by_section(whole))):
            parts = [
                said(columns(memory, memory_map, batch), **asked)
                for batch in in_runs(layout, memory_map, batches, detail)
            ]
            for key, value in expected.items():
                got = np.concatenate([part[key] for part in parts])
                differ = np.flatnonzero(got != value)
                assert not len(differ), (
                    detail,
                    key,
                    differ[:5],
                    got[differ[:5]],
                    value[differ[:5]],
                )


@pytest.mark.parametrize(
    ("offset", "value", "free"),
    [
        (MODERN.flags, 1 << 10 | 1 << 17, False),
        (MODERN.mapping, 4, True),
        (MODERN.memcg, 4, True),
        (MODERN.flags, 1 << 5, True),
        (MODERN.refcount - 4, 1 << 32 | 0xFFFFFFFF, True),
    ],
)
def test_a_page_that_differs_in_one_word_is_found(offset: int, value: int, *, free: bool) -> None:
    memory = Memory(N, MODERN, FIRST)
    if free:
        memory.free_block(0, 10)
    else:
        for i in range(100):
            memory.word(i, 0xFFFFFFFF, 1).set(i, MODERN.flags, 1 << 17)
    memory.set(50, offset, value)
    memory_map = MemoryMap(((FIRST, FIRST + N),), ())
    whole = PageBatch(FIRST, memory.words, None, None)
    (joined,) = in_runs(MODERN, memory_map, [whole], "use")
    plain, runs = (
        said(columns(memory, memory_map, b), rules=False, uses=True)["use"] for b in (whole, joined)
    )
    assert plain[50] != plain[51]
    assert (runs == plain).all()


@pytest.mark.parametrize("layout", [MODERN, OLD])
def test_a_folio_that_goes_beyond_its_section_is_sound(layout: PageLayout) -> None:
    memory = Memory(N, layout, FIRST).compound(8, 11)
    memory_map = MemoryMap(((FIRST, FIRST + N),), ())
    whole = PageBatch(FIRST, memory.words, None, None)
    (joined,) = in_runs(layout, memory_map, [whole], "all")
    for batch in (*by_section(whole), joined):
        known = said(columns(memory, memory_map, batch), rules=True, uses=True)
        assert {rule.name: int(known[rule.name].sum()) for rule in CONTRADICTIONS} == {
            rule.name: 0 for rule in CONTRADICTIONS
        }


def test_only_what_tells_of_a_folio_tolerances_its_tails() -> None:
    memory = Memory(N, MODERN, FIRST)
    memory.readable = np.ones(N, np.bool_)
    for hole in (100, 1000, N // 2):
        memory.readable[hole : hole + 64] = False
        memory.words[hole : hole + 64] = 0
    # Before what was not read: a head whose order that hides, a page that is none, and a head that
    # a section's end follows.
    memory.set(99, MODERN.flags, HEAD).set(N // 2 - 1, MODERN.flags, HEAD)
    excused, told = (99, 1010), (70, 98, 999)
    tails = {1200 + i: head for i, head in enumerate(excused + told)}
    tails |= {N // 2 + tail: head for tail, head in tails.items()} | {N - 9: N // 2 - 1}
    for tail, head in tails.items():
        memory.set(tail, MODERN.compound, MODERN.vmemmap + (FIRST + head) * SIZE + 1)
    memory_map = MemoryMap(((FIRST, FIRST + N),), ())
    whole = PageBatch(FIRST, memory.words, memory.readable, None)
    (joined,) = in_runs(MODERN, memory_map, [whole], "all")
    for batches in ([joined], by_section(whole)):
        known = [said(columns(memory, memory_map, b), rules=True, uses=True) for b in batches]
        broken = np.concatenate([part["tail-without-head"] for part in known])
        assert np.flatnonzero(broken).tolist() == [
            i for i in sorted(tails) if tails[i] not in excused
        ]


def test_a_run_of_the_swap_cache_ends_where_a_page_has_a_mapping() -> None:
    bits = [MODERN.flag(name) for name in ("swapbacked", "owner_priv_1")]
    memory = Memory(N, MODERN, FIRST)
    for i in range(3):
        memory.word(i, 0xFFFFFFFF, 1).set(i, MODERN.memcg, 0xFFFF888000000040)
        memory.set(i, MODERN.flags, sum(1 << bit for bit in bits if bit is not None))
    # Of no kernel address: not what a sound page has, but no page of the swap cache either.
    memory.set(1, MODERN.mapping, 0x7F0000000000)
    memory_map = MemoryMap(((FIRST, FIRST + N),), ())
    (batch,) = in_runs(MODERN, memory_map, [PageBatch(FIRST, memory.words, None, None)], "use")
    assert batch.offsets.tolist()[:4] == [0, 1, 2, 3]


def test_pages_that_are_alike_are_one_run() -> None:
    memory = Memory(N, MODERN, FIRST)
    memory_map = MemoryMap(((FIRST, FIRST + N),), ())
    (batch,) = in_runs(MODERN, memory_map, [PageBatch(FIRST, memory.words, None, None)], "all")
    # The section that ends in the middle divides them.
    assert batch.offsets.tolist() == [0, N // 2]
    assert batch.lengths.tolist() == [N // 2, N // 2]


def sections(n: int, *, mixed: bool) -> list[PageBatch]:
    """Return n sections that touch: of pages that are all alike, or of none like the one before."""
    memory = Memory(SECTION_PFNS, MODERN, 0)
    if mixed:
        memory.words[::2, MODERN.refcount // 8] += np.uint64(1 << 8 * (MODERN.refcount % 8))
    return [PageBatch(i * SECTION_PFNS, memory.words, None, None) for i in range(n)]


@pytest.mark.parametrize(("mixed", "together"), [(False, [4, 4, 1]), (True, [1] * 9)])
def test_sections_are_decoded_together_where_runs_are_few(
    mixed: bool, together: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "_MOST_ROWS", SECTION_PFNS)
    memory_map = MemoryMap(((0, 9 * SECTION_PFNS),), ())
    found = list(in_runs(MODERN, memory_map, sections(9, mixed=mixed), "use", 4))
    assert [batch.size // SECTION_PFNS for batch in found] == together
    assert sum(int(batch.lengths.sum()) for batch in found) == 9 * SECTION_PFNS
    starts = [batch.first for batch in found]
    assert starts == [sum(together[:i]) * SECTION_PFNS for i in range(len(together))]


@pytest.mark.parametrize("detail", ["type", "use", "all"])
def test_memory_does_not_grow_with_mixed_pages(detail: Detail) -> None:
    def peak(n: int) -> int:
        memory_map = MemoryMap(((0, n * SECTION_PFNS),), ())
        parts = sections(n, mixed=True)
        tracemalloc.start()
        try:
            for batch in in_runs(MODERN, memory_map, parts, detail, n):
                heads = head_pfns(MODERN, batch)
                assert len(Pages(MODERN, memory_map, batch, heads, heads[:0], NONE).code) == len(
                    batch
                )
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(16) < 1.15 * peak(4)
