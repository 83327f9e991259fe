# SPDX-License-Identifier: GPL-2.0-only
"""The use of every page, and the contradictions, on struct pages made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic import KERNEL_POINTER, MODERN, OLD, SCHEMES, SIZE, VMEMMAP, Memory, flag

from pageinspect.analysis.page_facts.describe import describe_page
from pageinspect.classify import CODES, USE_CODES, use_name, use_names, uses_of
from pageinspect.classify.uses import _FIRST, RULES, rule_of
from pageinspect.model.layout import PageLayout
from pageinspect.model.memory_map import TRYLOCK, PcpLists
from pageinspect.target.vmcoreinfo import kernel_half


def test_codes_of_types_and_uses_are_apart() -> None:
    assert CODES <= _FIRST
    for name in use_names(MODERN):
        (codes,) = np.nonzero(uses_of(MODERN, name))
        assert {use_name(MODERN, code) for code in codes.tolist()} == {name}


def test_what_has_references_and_nothing_else_is_kernel() -> None:
    assert Memory(2).word(0, 0xFFFFFFFF, refcount=1).uses() == ["kernel", "idle"]


def test_mappings() -> None:
    memory = Memory(6)
    for i, mapping in enumerate([KERNEL_POINTER, KERNEL_POINTER, KERNEL_POINTER | 1]):
        memory.word(i, 0xFFFFFFFF, 1).set(i, MODERN.mapping, mapping)
    memory.set(1, MODERN.flags, flag("swapbacked"))
    memory.word(3, 0, 2).set(3, MODERN.mapping, KERNEL_POINTER | 3)
    memory.word(4, 0, 2)
    assert memory.uses() == ["file", "shmem", "anon", "ksm", "mapped", "idle"]


FIVE_LEVELS = replace(MODERN, vmemmap=0xFFD4000000000000, kernel_half=0xFF00000000000000)


def test_mappings_with_five_levels_of_page_tables() -> None:
    # The direct map begins at page_offset_base, 0xff11000000000000 without KASLR.
    memory = Memory(4, FIVE_LEVELS)
    for i, low in enumerate((0, 1)):
        memory.word(i, 0xFFFFFFFF, 1).set(i, MODERN.mapping, 0xFF11000012345600 | low)
    memory.word(2, 0, 2).set(2, MODERN.mapping, 0x00FF888012345600)
    assert memory.uses() == ["file", "anon", "mapped", "idle"]
    # With four levels no kernel address is so low.
    memory.layout = MODERN
    assert memory.uses()[:2] == ["kernel", "kernel"]


@pytest.mark.parametrize(
    ("line", "vmemmap", "half"),
    [
        ("0", 0xFFFFEA0000000000, 0xFFFF800000000000),
        ("1", 0xFFD4000000000000, 0xFF00000000000000),
        # KASLR may put it as high as with four levels.
        ("1", 0xFFFFEB97C0000000, 0xFF00000000000000),
        (None, 0xFFFFEB97C0000000, 0xFFFF800000000000),
        (None, 0xFF8C390940000000, 0xFF00000000000000),
    ],
)
def test_where_kernel_addresses_begin(line: str | None, vmemmap: int, half: int) -> None:
    info = {} if line is None else {"NUMBER(pgtable_l5_enabled)": line}
    assert kernel_half(info, vmemmap) == half


def test_the_swap_cache_takes_both_flags_and_no_mapping() -> None:
    both = flag("swapbacked") | flag("owner_priv_1")
    memory = Memory(8)
    for i, flags in enumerate([both, both, both, flag("owner_priv_1"), flag("swapbacked"), both]):
        memory.word(i, 0xFFFFFFFF, 1).set(i, MODERN.flags, flags)
    memory.set(1, MODERN.mapping, KERNEL_POINTER | 1).set(2, MODERN.mapping, KERNEL_POINTER)
    memory.word(5, 0xFFFFFFFF, 0).compound(6, 1).word(6, 0xFFFFFFFF, 1)
    memory.words[6, 0] |= np.uint64(both)
    kinds = ["swapcache", "anon", "shmem", "kernel", "kernel", "idle", "swapcache", "swapcache"]
    assert memory.uses() == kinds


def test_tails_have_the_use_of_their_folio() -> None:
    memory = Memory(4).compound(0, 2).word(0, 0xFFFFFFFF, 1).set(0, MODERN.mapping, KERNEL_POINTER)
    assert memory.uses() == ["file"] * 4


def test_flags_that_come_first() -> None:
    memory = Memory(3).set(0, MODERN.flags, flag("hwpoison")).set(1, MODERN.flags, 4 << 51)
    memory.set(2, MODERN.flags, flag("reserved"))
    assert memory.uses() == ["hwpoison", "zone_device", "reserved"]


def test_a_listed_block_that_became_a_huge_page_meanwhile() -> None:
    memory = Memory(16).compound(8, 3).word(8, 0xFFFFFFFF, 1)
    memory.set(8, MODERN.mapping, KERNEL_POINTER | 1)
    memory.pcp = PcpLists(np.array([0x1008]), np.array([3], np.uint8), np.array([0], np.uint16))
    memory.changing = True
    # Its tails have neither references nor a mapcount of their own: it is mapped as a whole.
    assert memory.uses()[8:] == ["anon"] * 8


def test_pcp_blocks_with_their_interior() -> None:
    memory = Memory(16)
    memory.pcp = PcpLists(
        np.array([0x1002, 0x1008, 0x100B]),
        np.array([1, 0, 0], np.uint8),
        np.array([0, 1, 1], np.uint16),
    )
    memory.word(0xB, 0xFFFFFFFF, refcount=1)
    uses = memory.uses()
    assert [i for i, use in enumerate(uses) if use == "pcp"] == [2, 3, 8]
    assert uses[0xB] == "conflict"
    memory.changing = True
    # Taken since the lists were followed.
    assert memory.uses()[0xB] == "kernel"
    pages = memory.pages()
    assert pages.order[2:4].tolist() == [1, 1]
    assert pages.head[2:4].tolist() == [True, False]


def test_blocks_on_a_trylock_list() -> None:
    memory = Memory(16)
    memory.pcp = PcpLists(
        np.array([0x1002, 0x1008]), np.array([1, 0], np.uint8), np.array([TRYLOCK, 1], np.uint16)
    )
    assert [i for i, use in enumerate(memory.uses()) if use == "pcp"] == [2, 3, 8]
    pages = memory.pages()
    assert pages.count(pages.on_trylock_list) == 2
    on_list, behind, of_cpu = (describe_page(pages, i, None).get("pcp") for i in (2, 3, 8))
    assert on_list is not None
    assert on_list == behind
    assert on_list.value == {"cpu": None, "start": 0x1002, "order": 1}
    assert on_list.text == "trylock list of its zone, from 0x1002, order 1"
    assert of_cpu is not None
    assert of_cpu.value == {"cpu": 1, "start": 0x1008, "order": 0}


@pytest.mark.parametrize("index", [0, 1, 0xFFFFFFFF])
def test_page_pool_by_its_signature(index: int) -> None:
    memory = (
        Memory(3).word(0, 0xFFFFFFFF, 1).set(0, MODERN.compound, 0xDEAD000000000040 | index << 7)
    )
    memory.word(1, 0xFFFFFFFF, 1).set(1, MODERN.compound, 0xDEAD000000000100)
    memory.word(2, 0xFFFFFFFF, 1).set(2, MODERN.compound, 0xDEAD000000000122)
    expected = "page_pool"
    assert memory.uses() == [expected, "kernel", "kernel"]


def test_types_come_before_flags_of_their_own() -> None:
    # Balloon and table pages reuse flags.
    memory = Memory(1).word(0, 0xF2000000, 1).set(0, MODERN.flags, flag("reserved"))
    assert memory.uses() == ["table"]


def test_typed_while_being_freed() -> None:
    memory = Memory(4).word(0, 0xF6000000, 0).word(1, 0xF6000000, 1).word(2, 0xF5000000, 0)
    memory.free_block(3, 0)
    assert memory.pages().freeing.tolist() == [True, False, False, False]


LAYOUTS = [replace(MODERN, scheme=scheme) for scheme in SCHEMES.values()] + [
    OLD,
    replace(MODERN, compound_mask=True, fake_heads=False),
]
INTERESTING = st.sampled_from(
    [
        0,
        1,
        0xFFFFFFFF,
        0x1FFFFFFFF,
        0xF0000000,
        0x1F6000000,
        KERNEL_POINTER | 1,
        KERNEL_POINTER,
        0xDEAD000000000040,
        VMEMMAP + 0x1000 * SIZE + 1,
        0xFFFFFFFFFFFFFF01,
        1 << 6,
    ]
)


@given(
    st.sampled_from(LAYOUTS),
    st.lists(
        st.lists(st.one_of(INTERESTING, st.integers(0, 2**64 - 1)), min_size=8, max_size=8),
        min_size=2,
        max_size=12,
    ),
)
def test_any_struct_pages_get_one_use_and_its_rule_holds(
    layout: PageLayout, rows: list[list[int]]
) -> None:
    memory = Memory(len(rows), layout)
    memory.words = np.array(rows, np.uint64)
    pages = memory.pages()
    assert (pages.use < USE_CODES).all()
    # The table read in plain Python: the first rule that holds for the page.
    for i, use in enumerate(pages.use.tolist()):
        first = next(rule for rule in RULES if bool(rule.holds(pages)[i]))
        assert rule_of(use) is first
        assert use_name(layout, use)
