# SPDX-License-Identifier: GPL-2.0-only
"""Pages of owners by their fate in a dump, of struct pages made by hand."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
from synthetic import KERNEL_POINTER, MODERN, Memory, flag

from pageinspect.classify import use_name
from pageinspect.model.presence import PfnSet, Presence
from pageinspect.owners.assign import Assigner
from pageinspect.owners.dump_fates import FATES, MOST_PFNS, DumpTally
from pageinspect.owners.kind import Label, claims_of_pfns
from pageinspect.owners.table import KINDS

FIRST = 0x1000
SLAB, TABLE, NO_TYPE = 0xF5000000, 0xF2000000, 0xFFFFFFFF


def pfns(*edges: int) -> PfnSet:
    return PfnSet(np.array(edges, np.int64) + FIRST)


def memory_of(*words: int, first: int = FIRST) -> Memory:
    memory = Memory(len(words), first=first)
    for i, word in enumerate(words):
        memory.word(i, word, 1)
    return memory


def tallied(
    memory: Memory, presence: Presence, level: int | None = 31, **claimed: list[int]
) -> DumpTally:
    claims = {
        name: claims_of_pfns([(Label(name), np.array(of) + memory.first)])
        for name, of in claimed.items()
    }
    pages = memory.pages()
    tally = DumpTally(presence, level)
    tally.add(pages, Assigner(memory.layout, claims)(pages))
    return tally


def fates(tally: DumpTally) -> dict[tuple[str, str, str], int]:
    return {
        (use_name(MODERN, use), KINDS[kind].name, FATES[fate]): n
        for (use, kind, fate), n in tally.counts.items()
    }


def kdump(dumpable: PfnSet, kept: PfnSet, present: PfnSet | None = None) -> Presence:
    return Presence("kdump", dumpable, kept, kept if present is None else present, 31)


def test_each_page_has_one_fate() -> None:
    memory = memory_of(SLAB, SLAB, TABLE, NO_TYPE, NO_TYPE, NO_TYPE, NO_TYPE)
    memory.set(3, MODERN.mapping or 0, KERNEL_POINTER | 1)
    memory.set(6, MODERN.flags, flag("reserved"))
    # 1, 3 and 4 were left out; 5 and 6 were not to be dumped.
    found = tallied(memory, kdump(pfns(0, 5), pfns(0, 1, 2, 3)))
    assert fates(found) == {
        ("slab", "slab", "present"): 1,
        ("slab", "slab", "lost"): 1,
        ("table", "table", "present"): 1,
        ("anon", "anon", "user"): 1,
        ("kernel", "unknown", "lost"): 2,
        ("reserved", "unknown", "outside"): 1,
    }
    assert found.causes == {"excluded": 2, "uncovered": 1, "cut_off": 0}
    assert found.lost_pfns.ranges() == [(FIRST + 1, FIRST + 2), (FIRST + 4, FIRST + 6)]
    assert found.first_tails == 0


def test_what_lies_behind_the_end_of_the_file_is_lost_whatever_its_use() -> None:
    memory = memory_of(*[NO_TYPE] * 4)
    memory.set(slice(None), MODERN.mapping or 0, KERNEL_POINTER | 1)
    found = tallied(memory, kdump(pfns(0, 4), pfns(0, 3), pfns(0, 1)))
    assert fates(found) == {
        ("anon", "anon", "present"): 1,
        ("anon", "anon", "lost"): 2,
        ("anon", "anon", "user"): 1,
    }
    assert +found.causes == {"cut_off": 2}


def test_zero_pages_of_an_elf_core_are_undecided() -> None:
    memory = memory_of(SLAB, NO_TYPE)
    memory.set(1, MODERN.mapping or 0, KERNEL_POINTER | 1)
    presence = Presence("elf", pfns(0, 2), pfns(), pfns())
    for level, expected in ((31, ("undecided", "user")), (1, ("undecided", "undecided"))):
        names = [fate for _, _, fate in fates(tallied(memory, presence, level))]
        assert sorted(names) == sorted(expected)
    assert {fate for _, _, fate in fates(tallied(memory, presence, 30))} == {"lost", "user"}
    assert {fate for _, _, fate in fates(tallied(memory, presence, 0))} == {"lost"}
    # Of an unknown level all is allowed that any level excludes.
    assert fates(tallied(memory, presence, None)) == fates(tallied(memory, presence, 31))


def test_unreadable_struct_pages_decide_nothing() -> None:
    memory = memory_of(SLAB, SLAB)
    memory.readable = np.array([False, True])
    found = fates(tallied(memory, kdump(pfns(0, 2), pfns())))
    assert found == {("unreadable", "unreadable", "undecided"): 1, ("slab", "slab", "lost"): 1}


def test_what_a_dump_need_not_cover() -> None:
    memory = memory_of(*[NO_TYPE] * 5, 0xF1000000)
    memory.set(slice(0, 5), MODERN.flags, flag("reserved"))
    memory.words[4, 0] |= np.uint64(flag("hwpoison"))
    found = tallied(memory, kdump(pfns(), pfns()), crashkernel=[0], firmware=[1], memmap=[2])
    assert fates(found) == {
        ("reserved", "crashkernel", "outside"): 1,
        ("reserved", "firmware", "outside"): 1,
        ("reserved", "memmap", "lost"): 1,
        ("reserved", "unknown", "outside"): 1,
        ("hwpoison", "damaged", "outside"): 1,
        ("offline", "offline", "outside"): 1,
    }


def test_the_first_mebibyte_is_not_dumped() -> None:
    memory = memory_of(*[NO_TYPE] * 4, first=0xFE)
    memory.set(slice(0, 3), MODERN.flags, flag("reserved"))
    found = tallied(memory, kdump(pfns(), pfns()), memmap=[0, 1, 2])
    assert fates(found) == {
        ("reserved", "memmap", "outside"): 2,
        ("reserved", "memmap", "lost"): 1,
        ("kernel", "unknown", "lost"): 1,
    }


def test_without_the_flag_pages_may_be_reserved() -> None:
    memory = memory_of(NO_TYPE, NO_TYPE, SLAB)
    memory.word(1, NO_TYPE, 0)
    for unavailable, fate in ((("reserved",), "outside"), ((), "lost")):
        memory.layout = replace(MODERN, unavailable=unavailable)
        assert fates(tallied(memory, kdump(pfns(), pfns()))) == {
            ("kernel", "unknown", fate): 1,
            ("idle", "unknown", fate): 1,
            ("slab", "slab", "lost"): 1,
        }


def test_second_pages_of_folios_are_counted() -> None:
    memory = Memory(16).compound(0, 2).compound(4, 2).compound(8, 2).word(12, NO_TYPE, 1)
    for head in (0, 4, 8):
        memory.word(head, SLAB)
    # The second page of two of them, and a third page.
    found = tallied(memory, kdump(pfns(0, 16), pfns(0, 1, 2, 5, 6, 10, 11, 16)))
    assert found.first_tails == 2
    assert found.causes["excluded"] == 3
    # Those that are cut off were not taken for anything.
    found = tallied(memory, kdump(pfns(0, 16), pfns(0, 16), pfns(0, 1, 2, 16)))
    assert (found.first_tails, found.causes["cut_off"]) == (0, 1)


def owners_of(tally: DumpTally) -> dict[tuple[str, int], tuple[int, list[int]]]:
    return {
        (KINDS[kind].name, key): (owner.pages, owner.pfns)
        for (_, kind, key), owner in tally.lost.items()
    }


def test_the_first_pfns_of_each_owner_are_kept() -> None:
    memory = memory_of(*[SLAB] * 40)
    for i in range(40):
        memory.set(i, MODERN.slab_cache or 0, 0x100 + i % 2)
    parts: list[Any] = []
    for start in (0, 40):
        pages = replace_first(memory, FIRST + start).pages()
        tally = DumpTally(kdump(pfns(0, 99), pfns()), 31)
        pieces = Assigner(MODERN, {})(pages)
        keys = pages.batch.words[:, (MODERN.slab_cache or 0) // 8]
        tally.add(pages, replace(pieces, keys=keys))
        parts.append(tally)
    one, other = parts
    evens = [FIRST + 2 * i for i in range(MOST_PFNS)]
    assert owners_of(one) == {
        ("slab", 0x100): (20, evens),
        ("slab", 0x101): (20, [pfn + 1 for pfn in evens]),
    }
    one.merge(other)
    assert owners_of(one)["slab", 0x100] == (40, evens)
    assert len(one.lost_pfns) == 80
    assert one.counts == Counter({next(iter(one.counts)): 80})


def replace_first(memory: Memory, first: int) -> Memory:
    moved = Memory(len(memory.words), first=first)
    moved.words[:] = memory.words
    return moved


def test_later_pages_fill_up_the_first_pfns() -> None:
    parts = []
    for start, n in ((0, 3), (3, 20)):
        memory = memory_of(*[SLAB] * n, first=FIRST + start)
        parts.append(tallied(memory, kdump(pfns(0, 99), pfns())))
    parts[0].merge(parts[1])
    assert owners_of(parts[0]) == {("slab", 0): (23, list(range(FIRST, FIRST + MOST_PFNS)))}
    assert parts[0].lost_pfns.ranges() == [(FIRST, FIRST + 23)]
