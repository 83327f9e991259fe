# SPDX-License-Identifier: GPL-2.0-only
"""Signatures of unknown pages: what the struct pages of their allocations say."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import HEAD, MEMDESC, MODERN, Memory, flag

from pageinspect.model.batch import FolioHeads
from pageinspect.model.layout import PageLayout
from pageinspect.owners.assign import Assigner
from pageinspect.owners.kind import Label, claims_of_pfns
from pageinspect.owners.refine import refined
from pageinspect.owners.signatures import signature_text
from pageinspect.owners.table import KINDS

FIRST = 0x1000
NO_TYPE = 0xFFFFFFFF


def signatures(memory: Memory, *claimed: int, outer: FolioHeads | None = None) -> list[str]:
    """Return the signature of each page, or the kind of pages with an owner."""
    claims = claims_of_pfns([(Label("a"), np.array(claimed, np.int64) + FIRST)])
    pages = memory.pages(outer)

    def read_words(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
        places = [slice(a, b) for a, b in zip(starts - FIRST, ends - FIRST, strict=True)]
        return np.concatenate([memory.words[:0], *(memory.words[place] for place in places)])

    found = refined(pages, Assigner(memory.layout, {"vmalloc": claims})(pages), read_words)
    texts: list[str] = []
    for kind, key, n in zip(
        found.kinds.tolist(), found.keys.tolist(), found.lengths.tolist(), strict=True
    ):
        name = KINDS[kind].name
        texts += [signature_text(memory.layout, key) if name == "unknown" else name] * n
    return texts


def used(n: int, *indices: int, references: int = 1, layout: PageLayout = MODERN) -> Memory:
    memory = Memory(n, layout)
    for i in indices:
        memory.word(i, NO_TYPE, references)
    return memory


def test_single_pages() -> None:
    memory = used(3, 0, 1, 2).word(1, 4, 7)
    memory.set(2, MODERN.flags, flag("lru") | flag("active"))
    assert signatures(memory) == [
        "kernel, order 0, 1 reference",
        "mapped, order 0, 7 references",
        "kernel, order 0, 1 reference, lru|active",
    ]


def test_an_allocation_has_the_signature_of_its_first_page() -> None:
    memory = used(24, 8, references=2).set(8, MODERN.flags, flag("owner_priv_1"))
    memory.word(20, NO_TYPE, 1)
    block = "kernel, order 3, 2 references, owner_priv_1"
    idle = "idle, order 0, 0 references"
    found = signatures(memory)
    assert found[:8] == [idle] * 8
    # The idle pages go on beyond the block, so that its end is not known.
    assert found[8] == "kernel, order 0, 2 references, owner_priv_1"
    memory.word(16, NO_TYPE, 1)
    assert signatures(memory)[8:17] == [block] * 8 + ["kernel, order 2, 1 reference"]


@pytest.mark.parametrize(("pages", "order"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3)])
def test_the_order_is_that_of_the_smallest_block(pages: int, order: int) -> None:
    memory = used(9, 0, *range(pages, 9))
    assert signatures(memory)[:pages] == [f"kernel, order {order}, 1 reference"] * pages


def test_a_compound_page_has_the_signature_of_its_head() -> None:
    memory = used(8, 0).compound(0, 2).word(0, NO_TYPE, 3)
    memory.words[0, 0] |= np.uint64(flag("active"))
    found = signatures(memory)
    assert found[:4] == ["kernel, order 2 compound, 3 references, active"] * 4
    assert found[4:] == ["idle, order 0, 0 references"] * 4


def test_a_compound_page_of_which_some_pages_have_an_owner() -> None:
    memory = used(8, 0).compound(0, 3).word(0, NO_TYPE, 1)
    assert signatures(memory, *range(4, 8)) == [
        *["kernel, order 3 compound, 1 reference"] * 4,
        *["vmalloc"] * 4,
    ]


def test_idle_pages_behind_a_compound_page_are_no_part_of_it() -> None:
    memory = used(3, 0).compound(0, 1).word(0, NO_TYPE, 1)
    assert signatures(memory)[1:] == [
        "kernel, order 1 compound, 1 reference",
        "idle, order 0, 0 references",
    ]


def test_idle_pages_behind_a_compound_page_without_its_last_pages() -> None:
    memory = used(8, 0).compound(0, 3).word(0, NO_TYPE, 1)
    memory.set(slice(5, 8), MODERN.compound, 0)
    assert signatures(memory)[5:] == ["idle, order 0, 0 references"] * 3


def test_pages_whose_head_is_elsewhere_have_flags_of_their_own() -> None:
    memory = used(8, 0).set(0, MODERN.flags, flag("active"))
    memory.words[4:, MODERN.compound // 8] = MODERN.vmemmap + (FIRST - 8) * 64 + 1
    head = Memory(16, first=FIRST - 8).compound(0, 4).word(0, NO_TYPE, 1)
    outer = FolioHeads(head.words[:2].reshape(1, -1))
    assert signatures(memory, outer=outer)[4:] == ["kernel, order 4 compound, 0 references"] * 4


def test_idle_pages_behind_a_page_with_an_owner() -> None:
    # They go on beyond the block of the page before, which has an owner.
    memory = used(4, 0, 1)
    assert signatures(memory, 1) == [
        "kernel, order 0, 1 reference",
        "vmalloc",
        *["idle, order 0, 0 references"] * 2,
    ]


def test_pages_with_owners_between_unknown_ones() -> None:
    memory = used(4, 0, 1, 2, 3)
    memory.set(3, MODERN.flags, flag("reserved"))
    assert signatures(memory, 1) == [
        "kernel, order 0, 1 reference",
        "vmalloc",
        "kernel, order 0, 1 reference",
        "reserved, order 0, 1 reference, reserved",
    ]


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0xFFFF, "65,535 references"),
        (0x10000, "65,535 references"),
        (0x7FFFFFFF, "65,535 references"),
    ],
)
def test_references_beyond_those_of_a_signature(count: int, text: str) -> None:
    assert signatures(used(1, 0, references=count)) == [f"kernel, order 0, {text}"]


def test_a_negative_number_of_references_is_none() -> None:
    assert signatures(used(1, 0, references=0xFFFFFFFF)) == ["idle, order 0, 0 references"]


def test_zone_bits_and_the_flag_of_heads_are_not_in_a_signature() -> None:
    memory = used(1, 0).set(0, MODERN.flags, 3 << 51 | 1 << 40 | 1 << 30)
    assert signatures(memory) == ["kernel, order 0, 1 reference"]
    memory = used(2, 0).compound(0, 1).word(0, NO_TYPE, 1)
    assert int(memory.words[0, 0]) & HEAD
    assert "head" not in signatures(memory)[0]


def test_flags_beyond_32_bits_are_left_out() -> None:
    layout = replace(MODERN, flag_bits=(*MODERN.flag_bits, ("young", 40)))
    memory = used(1, 0, layout=layout).set(0, layout.flags, 1 << 40)
    assert signatures(memory) == ["kernel, order 0, 1 reference"]


def test_memdescs() -> None:
    memory = Memory(2, MEMDESC)
    memory.words[0, MEMDESC.refcount // 8] = 1
    assert signatures(memory) == ["kernel, order 1, 1 reference"] * 2


def test_every_use_that_may_be_unknown_is_in_a_signature() -> None:
    texts = signatures(used(4, 0, 1, 2).word(1, 0, 1).set(2, MODERN.flags, flag("reserved")))
    assert [text.partition(",")[0] for text in texts] == [
        "kernel",
        "mapped",
        "reserved",
        "reserved",
    ]
