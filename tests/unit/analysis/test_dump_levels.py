# SPDX-License-Identifier: GPL-2.0-only
"""Which pages each dump level excludes: struct pages made by hand, against the rules in words."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from synthetic import FLAG_BITS, KERNEL_POINTER, MODERN, OLD, Memory

from pageinspect.analysis.dump_levels import (
    LEVEL_RULES,
    MAX_LEVEL,
    excluding_rules,
    lost_pages,
)
from pageinspect.classify.details import DETAILS
from pageinspect.classify.reads import Places, compared, reads_of
from pageinspect.model.layout import PageLayout
from pageinspect.model.presence import PfnSet, Presence

FLAGS = (*FLAG_BITS, ("private", 11))
LAYOUTS = {
    "modern": replace(MODERN, flag_bits=FLAGS),
    "old": replace(OLD, flag_bits=FLAGS),
}
LRU, PRIVATE, SWAPCACHE, SWAPBACKED, POISON = (1 << bit for bit in (5, 11, 10, 17, 20))
ANON, FILE = KERNEL_POINTER | 1, KERNEL_POINTER
NO_TYPE = 0xFFFFFFFF
Make = Callable[[Memory], object]


def page(flags: int = 0, mapping: int = 0, word: int = NO_TYPE) -> Make:
    """Return a function that makes the page at index 4."""

    def make(memory: Memory) -> None:
        memory.word(4, word, 1).set(4, MODERN.flags, flags).set(4, MODERN.mapping or 0, mapping)

    return make


def typed(modern: int, old: Make) -> Make:
    """Return a function that makes a page with a type, which older kernels mark in another way."""

    def make(memory: Memory) -> None:
        if memory.layout.slab is None:
            memory.word(4, modern)
        else:
            old(memory)

    return make


def old_hugetlb(memory: Memory) -> None:
    memory.compound(4, 1).words[5, 16 // 8] |= np.uint64(2)


def free(memory: Memory) -> None:
    buddy = 0xF0000000 if memory.layout.slab is None else 0xFFFFFF7F
    memory.free_block(4, 1, buddy)


def both(first: Make, second: Make) -> Make:
    def make(memory: Memory) -> None:
        first(memory)
        second(memory)

    return make


def tagged(memory: Memory) -> None:
    memory.set(4, MODERN.mapping or 0, 1)


def old_slab(memory: Memory) -> None:
    memory.set(4, 0, 1 << 9)


PAGES: dict[str, tuple[Make, dict[int, str]]] = {
    "free": (free, {16: "free"}),
    "file": (page(LRU, FILE), {2: "cache", 4: "cache"}),
    "file with buffers": (page(LRU | PRIVATE, FILE), {4: "private"}),
    "file that is on no list": (page(0, FILE), {}),
    "file that is on no list, with buffers": (page(PRIVATE, FILE), {}),
    "swap cache": (page(SWAPCACHE | SWAPBACKED, 0), {2: "cache", 4: "cache"}),
    "private of the owner": (page(SWAPCACHE, 0), {}),
    "anon": (page(LRU | SWAPBACKED, ANON), {8: "user"}),
    "anon of the swap cache": (page(LRU | SWAPCACHE | SWAPBACKED, ANON), {8: "user"}),
    "ksm": (page(LRU, KERNEL_POINTER | 3), {8: "user"}),
    "no pointer, but bit 0": (page(0, 1), {8: "user"}),
    "hugetlb": (typed(0xF4000000, old_hugetlb), {8: "user"}),
    "slab": (typed(0xF5000000, old_slab), {}),
    "slab whose mapping has bit 0": (
        both(typed(0xF5000000, old_slab), tagged),
        {},
    ),
    "kernel": (page(), {}),
    "poisoned": (page(POISON), dict.fromkeys((0, 1, 2, 4, 8, 16), "hwpoison")),
    "poisoned anon": (page(POISON, ANON), {0: "hwpoison", 8: "user", 16: "hwpoison"}),
    "offline": (typed(0xF1000000, page(word=0xFFFFFEFF)), {0: "offline", 31: "offline"}),
}


def excluded(memory: Memory, level: int) -> list[str]:
    found = excluding_rules(memory.pages(), level).tolist()
    return ["" if i < 0 else LEVEL_RULES[i].name for i in found]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", PAGES)
def test_levels_of_each_page(layout: str, name: str) -> None:
    make, expected = PAGES[name]
    always = expected.get(0, "")
    for level in (0, 1, 2, 4, 8, 16):
        memory = Memory(8, LAYOUTS[layout])
        make(memory)
        found = excluded(memory, level)
        if name == "poisoned anon" and level in (1, 2, 4):
            continue
        assert found[4] == expected.get(level, always), level
        assert found[:4] == [""] * 4
    assert bool(excluded(memory, MAX_LEVEL)[4]) == bool(expected)


def test_only_bits_of_the_level_count() -> None:
    memory = Memory(8, LAYOUTS["modern"])
    page(LRU, FILE)(memory)
    for level in range(32):
        assert excluded(memory, level)[4] == ("cache" if level & 6 else "")


def test_a_rule_holds_for_all_pages_of_a_folio() -> None:
    memory = Memory(16, LAYOUTS["modern"]).compound(4, 2).free_block(8, 2)
    memory.words[4, 0] |= np.uint64(LRU)
    memory.set(4, MODERN.mapping or 0, FILE).word(4, NO_TYPE, 1)
    # A word of tails with another meaning.
    memory.set(5, MODERN.mapping or 0, 1)
    assert excluded(memory, 31) == [""] * 4 + ["cache"] * 4 + ["free"] * 4 + [""] * 4


def test_memory_that_was_not_accepted() -> None:
    memory = Memory(8, LAYOUTS["modern"]).word(4, 0xF7000000)
    assert excluded(memory, 16)[4] == "free"
    assert excluded(memory, 15)[4] == ""


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_runs_of_dumps_keep_what_rules_read(layout: PageLayout) -> None:
    places = Places(layout)
    kept = {each.offset: each.mask for each in compared(places, DETAILS["dump"])}
    for rule in LEVEL_RULES:
        for part in (part for read in reads_of(rule.reads) for part in places[read]):
            beyond = part.missing or part.only or part.offset >= layout.struct_size
            if part.equals is None and not beyond:
                assert part.mask & ~kept[part.offset] == 0, rule


def presence(form: str, dumpable: tuple[int, int], *kept: int) -> Presence:
    there = PfnSet(np.array(kept, np.int64))
    return Presence(form, PfnSet(np.array(dumpable)), there, there)  # type: ignore[arg-type]


def test_what_is_lost() -> None:
    memory = Memory(8, LAYOUTS["modern"], 0x1000)
    page(LRU, FILE)(memory)
    there = presence("kdump", (0x1001, 0x1007), 0x1002, 0x1004)
    wrong = lost_pages(memory.pages(), there, 31)
    assert np.flatnonzero(wrong).tolist() == [1, 5, 6]
    assert np.flatnonzero(lost_pages(memory.pages(), there, 1)).tolist() == [1, 4, 5, 6]
    # Contents that are not there are lost whatever the level.
    gone = replace(there, present=PfnSet(np.array([0x1002, 0x1003])))
    assert np.flatnonzero(lost_pages(memory.pages(), gone, 31)).tolist() == [1, 3, 5, 6]
    # Zero pages are not in an ELF core.
    there = presence("elf", (0x1001, 0x1007), 0x1002, 0x1004)
    assert not lost_pages(memory.pages(), there, 31).any()
    assert np.flatnonzero(lost_pages(memory.pages(), there, 30)).tolist() == [1, 5, 6]
