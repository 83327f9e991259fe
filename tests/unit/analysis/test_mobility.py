# SPDX-License-Identifier: GPL-2.0-only
"""What can be moved, and which references nothing explains, of struct pages made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import HEAD, MODERN, OLD, SIZE, Memory

from pageinspect.analysis.mobility import (
    MOBILITIES,
    MOBILITY_NAMES,
    OUTCOMES,
    REMEDIES,
    MobilityRules,
    PageMobility,
    when_offlining,
)
from pageinspect.classify import use_names
from pageinspect.model.layout import PageLayout
from pageinspect.model.memory_map import PcpLists
from pageinspect.model.pageblocks import BatchReferences

LAYOUT = replace(MODERN, flag_bits=(*MODERN.flag_bits, ("private", 14), ("uptodate", 3)))
LRU, SWAPBACKED, RESERVED, PRIVATE, UPTODATE = 1 << 5, 1 << 17, 1 << 13, 1 << 14, 1 << 3
POISON, OFFLINE = 1 << 20, 0xF1000000
SWAPCACHE = 1 << 10 | SWAPBACKED
FILE, ANON = 0xFFFF888000002000, 0xFFFF888000001001
UNMAPPED, TYPED = 0xFFFFFFFF, {"table": 0xF2000000, "hugetlb": 0xF4000000, "slab": 0xF5000000}
NONE = BatchReferences(np.empty(0, np.int64), np.empty(0, np.int64))
LARGE_MAPCOUNT, PINCOUNT = SIZE + 16, SIZE + 28


def page(
    memory: Memory, i: int, *, mapping: int, refs: int, maps: int = 0, flags: int = LRU
) -> None:
    memory.word(i, (maps - 1) & 0xFFFFFFFF, refs).set(i, 24, mapping).set(i, 0, flags)


def large(
    memory: Memory, i: int, order: int, *, mapping: int, refs: int, maps: int, pins: int = 0
) -> None:
    """Make a large folio; a later kernel counts its mappings and pins in the first tail."""
    page(memory, i, mapping=mapping, refs=refs, flags=LRU | SWAPBACKED)
    memory.compound(i, order)
    words = memory.words[i + 1].view(np.uint32)
    words[(LARGE_MAPCOUNT - SIZE) // 4] = (maps - 1) & 0xFFFFFFFF
    words[(PINCOUNT - SIZE) // 4] = pins


def judged(memory: Memory, batches: BatchReferences = NONE) -> PageMobility:
    return MobilityRules(memory.layout, batches)(memory.pages())


def said(memory: Memory, i: int, batches: BatchReferences = NONE) -> tuple[str, str, int, int]:
    found = judged(memory, batches)
    return (
        MOBILITY_NAMES[found.classes[i]],
        REMEDIES[found.remedies[i]],
        int(found.references[i]),
        int(found.pins[i]),
    )


def test_the_table_names_uses_that_there_are() -> None:
    names = {name for rule in MOBILITIES for name in rule.uses}
    known = {*use_names(MODERN), *use_names(OLD), "movable_ops"}
    assert names <= known
    assert {rule.remedy for rule in MOBILITIES} <= {*REMEDIES}


def test_by_use() -> None:
    memory = Memory(64, LAYOUT).free_block(32, 4)
    memory.pcp = PcpLists(np.array([0x1004]), np.array([0], np.uint8), np.array([1], np.uint16), 1)
    memory.word(1, TYPED["table"], 1).word(2, UNMAPPED, 1)
    memory.word(3, UNMAPPED, 1).set(3, 0, RESERVED)
    memory.word(5, 0xF1000000, 1).word(6, 0xF1000000, 1).set(6, 0, UPTODATE)
    memory.word(7, TYPED["slab"]).word(8, 0xF6000001, 1)
    assert said(memory, 40) == ("free", "", 0, 0)
    expected = {
        1: ("unmovable", ""),
        2: ("unmovable", ""),
        3: ("reserved", ""),
        4: ("movable", "drain"),
        5: ("unmovable", "unplug"),
        6: ("movable", "move"),
        7: ("unmovable", ""),
        8: ("movable", "move"),
        9: ("unmovable", ""),
    }
    found = judged(memory)
    assert {
        i: (MOBILITY_NAMES[found.classes[i]], REMEDIES[found.remedies[i]]) for i in expected
    } == expected
    assert not found.references.any()
    assert not found.pins.any()


def test_a_balloon_of_old_kernels_has_a_tag() -> None:
    layout = replace(OLD, flag_bits=LAYOUT.flag_bits)
    memory = Memory(8, layout)
    memory.word(1, 0xFFFFFEFF, 1).word(2, 0xFFFFFEFF, 1).set(2, 24, FILE | 2)
    assert said(memory, 1)[:2] == ("unmovable", "unplug")
    assert said(memory, 2)[:2] == ("movable", "move")


MOVABLE = ("movable", "move or drop", 0, 0)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"mapping": FILE, "refs": 1}, MOVABLE),
        ({"mapping": FILE, "refs": 4, "maps": 3}, MOVABLE),
        ({"mapping": FILE, "refs": 2, "flags": LRU | PRIVATE}, MOVABLE),
        ({"mapping": FILE, "refs": 5, "maps": 3}, ("unmovable", "unpin", 1, 0)),
        ({"mapping": FILE, "refs": 2, "maps": 0}, ("unmovable", "unpin", 1, 0)),
        ({"mapping": FILE, "refs": 1 + 2048}, ("unmovable", "unpin", 0, 2)),
        ({"mapping": FILE, "refs": 1 + 1030}, ("unmovable", "unpin", 6, 1)),
        # Fewer references than expected: it is being freed, or read while it changes.
        ({"mapping": FILE, "refs": 1, "maps": 3}, MOVABLE),
        ({"mapping": ANON, "refs": 2, "maps": 2}, ("movable", "move", 0, 0)),
        # PG_private and the mapping of anonymous memory hold no reference.
        ({"mapping": ANON, "refs": 3, "maps": 2, "flags": LRU | PRIVATE | SWAPBACKED},
         ("unmovable", "unpin", 1, 0)),
        ({"mapping": ANON, "refs": 3, "maps": 2, "flags": LRU | SWAPCACHE},
         ("movable", "move", 0, 0)),
        ({"mapping": ANON, "refs": 1 + 1024, "maps": 1}, ("unmovable", "unpin", 0, 1)),
        # Not on an LRU list.
        ({"mapping": FILE, "refs": 1, "flags": 0}, ("unmovable", "", 0, 0)),
    ],
)  # fmt: skip
def test_references_of_small_folios(
    given: dict[str, int], expected: tuple[str, str, int, int]
) -> None:
    memory = Memory(4, LAYOUT)
    page(memory, 1, **given)
    assert said(memory, 1) == expected


def test_batches_explain_references() -> None:
    memory = Memory(8, LAYOUT)
    page(memory, 1, mapping=FILE, refs=2, flags=0)
    page(memory, 2, mapping=FILE, refs=2)
    page(memory, 3, mapping=FILE, refs=4)
    batches = BatchReferences(np.array([0x1001, 0x1003]), np.array([1, 2]))
    assert said(memory, 1, batches) == MOVABLE
    assert said(memory, 2, batches) == ("unmovable", "unpin", 1, 0)
    assert said(memory, 3, batches) == ("unmovable", "unpin", 1, 0)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"mapping": ANON, "refs": 4, "maps": 4}, ("movable", "move", 0, 0)),
        ({"mapping": FILE, "refs": 8, "maps": 0}, ("movable", "move", 0, 0)),
        ({"mapping": FILE, "refs": 11, "maps": 3}, ("movable", "move", 0, 0)),
        # A pin of a large folio is one reference, and is counted.
        ({"mapping": FILE, "refs": 10, "maps": 0, "pins": 2}, ("unmovable", "unpin", 0, 2)),
        ({"mapping": ANON, "refs": 7, "maps": 4, "pins": 2}, ("unmovable", "unpin", 1, 2)),
        # Many references are not taken for pins.
        ({"mapping": ANON, "refs": 2000, "maps": 100}, ("unmovable", "unpin", 1900, 0)),
    ],
)
def test_references_of_large_folios(
    given: dict[str, int], expected: tuple[str, str, int, int]
) -> None:
    memory = Memory(32, LAYOUT)
    large(memory, 8, 3, **given)
    # All of its pages share the head's references.
    assert said(memory, 8) == said(memory, 12) == expected
    assert said(memory, 16)[2:] == (0, 0)


def test_what_the_kernel_passes_over_when_it_takes_memory_offline() -> None:
    memory = Memory(32, LAYOUT)
    # A page with a hardware error, in use and free; the same of reserved memory.
    memory.word(1, UNMAPPED, 1).set(1, 0, POISON).word(2, UNMAPPED, 0).set(2, 0, POISON)
    memory.word(3, UNMAPPED, 1).set(3, 0, POISON | RESERVED)
    # Memory that a driver took, and for which it has given up its reference.
    memory.word(4, OFFLINE, 1).word(5, OFFLINE, 0)
    memory.word(6, TYPED["table"], 1)
    # A large folio in which one page has an error.
    page(memory, 16, mapping=FILE, refs=8)
    memory.compound(16, 3).set(18, 0, POISON)
    found = when_offlining(memory.pages())
    assert {i: OUTCOMES[found[i]] for i in (1, 2, 3, 4, 5, 6, 18)} == {
        1: "skipped",
        2: "skipped",
        3: "unmovable",
        4: "undecided",
        5: "skipped",
        6: "unmovable",
        18: "unmovable",
    }


def without_count() -> PageLayout:
    return replace(LAYOUT, large_mapcount=None)


def test_kernels_without_a_count_of_all_mappings_show_pins_alone() -> None:
    memory = Memory(32, without_count())
    large(memory, 8, 3, mapping=ANON, refs=700, maps=0)
    large(memory, 16, 3, mapping=ANON, refs=700, maps=0, pins=3)
    assert said(memory, 12) == ("movable", "move", 0, 0)
    assert said(memory, 18) == ("unmovable", "unpin", 0, 3)


@pytest.mark.parametrize(
    ("order", "pins", "expected"),
    [
        (9, 0, ("movable", "move", 0, 0)),
        (10, 0, ("movable", "move", 0, 0)),
        (11, 0, ("unmovable", "shrink pool", 0, 0)),
        (9, 4, ("unmovable", "unpin", 0, 4)),
    ],
)
def test_huge_pages(order: int, pins: int, expected: tuple[str, str, int, int]) -> None:
    memory = Memory(1 << 11, LAYOUT)
    memory.set(0, 0, HEAD).compound(0, order).word(0, TYPED["hugetlb"], 1)
    memory.words[1].view(np.uint32)[(PINCOUNT - SIZE) // 4] = pins
    assert said(memory, 300) == expected
