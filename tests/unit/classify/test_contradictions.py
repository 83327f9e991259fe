# SPDX-License-Identifier: GPL-2.0-only
"""Which contradictions are found on struct pages made by hand."""

import numpy as np
import pytest
from synthetic import KERNEL_POINTER, MODERN, SIZE, VMEMMAP, Memory, flag

from pageinspect.analysis.page_facts.describe import describe_page
from pageinspect.classify.contradictions import CONTRADICTIONS
from pageinspect.model.memory_map import PcpLists


def broken(memory: Memory) -> dict[str, list[int]]:
    pages = memory.pages()
    found = {rule.name: rule.broken(pages).tolist() for rule in CONTRADICTIONS}
    return {name: where for name, where in found.items() if where}


def sound() -> Memory:
    """Return memory with some of everything, and no contradiction."""
    memory = Memory(256)
    memory.free_block(0, 4).free_block(16, 2).compound(32, 3).word(32, 0xF5000000)
    memory.word(64, 0xF6000123, 1).word(65, 0, 1).set(65, MODERN.mapping, KERNEL_POINTER | 1)
    return memory


def test_nothing_fires_on_sound_memory() -> None:
    assert broken(sound()) == {}


@pytest.mark.parametrize(
    ("rule", "index", "spoil"),
    [
        ("type-on-tail", 35, lambda m: m.word(35, 0xF5000000)),
        ("type-in-free-block", 5, lambda m: m.word(5, 0xF6000000)),
        ("low-bits", 100, lambda m: m.word(100, 0xF2000001, 1)),
        ("odd-word", 100, lambda m: m.word(100, 0xFFFFFFF0, 1)),
        ("odd-word", 101, lambda m: m.word(101, 0x80000000, 1)),
        ("misaligned-free-block", 113, lambda m: m.free_block(113, 3)),
        ("overlapping-free-blocks", 8, lambda m: m.free_block(8, 1)),
        ("free-but-referenced", 16, lambda m: m.word(16, 0xF0000000, 1)),
        ("free-but-owned", 16, lambda m: m.set(16, MODERN.mapping, KERNEL_POINTER)),
        ("free-but-owned", 0, lambda m: m.set(0, 56, KERNEL_POINTER)),
        ("free-but-flagged", 6, lambda m: m.set(6, MODERN.flags, flag("lru"))),
        ("free-page-pool", 16, lambda m: m.set(16, MODERN.compound, 0xDEAD000000000040)),
        (
            "tail-without-head",
            200,
            lambda m: m.set(200, MODERN.compound, VMEMMAP + (0x1000 + 190) * SIZE + 1),
        ),
        (
            "tail-without-head",
            41,
            lambda m: m.set(41, MODERN.compound, VMEMMAP + (0x1000 + 32) * SIZE + 1),
        ),
    ],
)
def test_each_rule_fires_where_it_is_broken(rule: str, index: int, spoil) -> None:
    memory = sound()
    spoil(memory)
    assert broken(memory)[rule] == [index]
    assert memory.uses()[index] == "conflict"
    page = describe_page(memory.pages(), index, None).get("breaks")
    assert page is not None
    assert rule in page.value


@pytest.mark.parametrize(
    ("rule", "index", "spoil"),
    [
        ("in-use-inside-free-block", 5, lambda m: m.word(5, 0xFFFFFFFF, 1)),
        ("in-use-inside-free-block", 5, lambda m: m.set(5, MODERN.mapping, 2)),
        ("in-use-inside-free-block", 5, lambda m: m.set(5, 56, 1)),
        ("in-use-on-cpu-list", 70, lambda m: m.word(70, 0xFFFFFFFF, 1)),
        ("in-use-on-cpu-list", 70, lambda m: m.set(70, 56, 1)),
    ],
)
def test_what_a_race_may_break_gives_a_use_only_where_nothing_runs(
    rule: str, index: int, spoil
) -> None:
    memory = sound()
    memory.pcp = PcpLists(np.array([0x1000 + 70]), np.array([0], np.uint8), np.zeros(1, np.uint16))
    assert broken(memory) == {}
    spoil(memory)
    assert broken(memory) == {rule: [index]}
    assert memory.uses()[index] == "conflict"
    memory.changing = True
    assert memory.uses()[index] != "conflict"
    breaks = describe_page(memory.pages(), index, None).get("breaks")
    assert breaks is not None
    assert breaks.value == [rule]
    assert rule in breaks.text
    assert "for a moment" in breaks.text


def test_hvo_is_no_contradiction() -> None:
    memory = Memory(512, first=0x1000).compound(0, 9).word(0, 0xF4000000)
    for piece in range(64, 512, 64):
        memory.words[piece : piece + 64] = memory.words[:64]
    assert broken(memory) == {}
