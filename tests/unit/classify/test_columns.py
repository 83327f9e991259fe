# SPDX-License-Identifier: GPL-2.0-only
"""Types of pfns from struct pages made by hand."""

from dataclasses import replace

import numpy as np
import pytest
from synthetic import HEAD, MODERN, OLD, SIZE, VMEMMAP, Memory

from pageinspect.classify import code_name, codes_of
from pageinspect.model.batch import FolioHeads


def test_untyped_words() -> None:
    pages = Memory(4).word(0, 0, refcount=1).word(1, 7, refcount=8).word(2, 0xFFFFFF00)
    assert pages.types() == ["mapped", "mapped", "odd", "reset"]


@pytest.mark.parametrize("mask", [False, True])
def test_tails_have_the_type_of_their_head(mask: bool) -> None:
    layout = replace(MODERN, compound_mask=mask, fake_heads=not mask)
    pages = Memory(16, layout).compound(8, 2, mask=mask).word(8, 0xF5000000)
    assert pages.types() == ["reset"] * 8 + ["slab"] * 4 + ["reset"] * 4
    columns = pages.pages()
    assert columns.order.tolist() == [0] * 8 + [2] * 4 + [0] * 4
    assert columns.head.tolist() == [True] * 9 + [False] * 3 + [True] * 4


def test_tails_of_an_untyped_folio_are_read_by_their_own_words() -> None:
    pages = Memory(4).compound(0, 2).word(0, 0, 4).word(2, 3)
    assert pages.types() == ["mapped", "reset", "mapped", "reset"]


def test_free_blocks_with_their_interior() -> None:
    pages = Memory(32).free_block(8, 3)
    pages.free_block(17, 0)
    assert pages.types() == ["reset"] * 8 + ["buddy"] * 8 + ["reset", "buddy"] + ["reset"] * 14
    columns = pages.pages()
    assert columns.order[8:16].tolist() == [3] * 8
    assert columns.head[8:17].tolist() == [True] + [False] * 7 + [True]


def test_a_referenced_page_is_not_inside_a_free_block() -> None:
    pages = Memory(8).free_block(0, 3).word(5, 0xFFFFFFFF, 1)
    assert pages.types() == ["buddy"] * 5 + ["reset"] + ["buddy"] * 2


def test_a_nonsense_order_does_not_spread() -> None:
    pages = Memory(4096, first=0).free_block(0, 0xDEAD)
    assert pages.types().count("buddy") == 1 << 10


def test_a_head_outside_the_batch() -> None:
    pages = Memory(4, first=0x8000)
    pages.set(slice(0, 4), MODERN.compound, VMEMMAP + 0x4000 * SIZE + 1)
    head = np.zeros((1, 2 * SIZE // 8), np.uint64)
    head[0, 0] = HEAD
    head[0, MODERN.page_type // 8] = 0xF4000000
    head[0, SIZE // 8] = 18
    columns = pages.pages(FolioHeads(head))
    assert {code_name(MODERN.scheme, c) for c in columns.code.tolist()} == {"hugetlb"}
    assert columns.order.tolist() == [18] * 4
    assert not columns.head.any()


def test_fake_heads_of_hvo_are_tails() -> None:
    pages = Memory(512, first=0x1000).compound(0, 9).word(0, 0xF4000000)
    # HVO maps every vmemmap page of the folio onto the first one.
    for piece in range(64, 512, 64):
        pages.words[piece : piece + 64] = pages.words[:64]
    columns = pages.pages()
    assert {code_name(MODERN.scheme, c) for c in columns.code.tolist()} == {"hugetlb"}
    assert np.flatnonzero(columns.head).tolist() == [0]
    assert set(columns.order.tolist()) == {9}


def test_a_tail_that_points_nowhere_is_its_own_head() -> None:
    pages = Memory(4).set(2, MODERN.compound, 0x1234567 | 1)
    assert pages.types() == ["reset"] * 4


def test_old_markers() -> None:
    pages = Memory(1024, OLD)
    pages.set(0, OLD.flags, 1 << 9)
    pages.compound(2, 1).words[2, 0] |= np.uint64(1 << 9)
    pages.compound(512, 9).set(513, 16, 2 | 9 << 8)
    names = pages.types()
    assert names[:4] == ["slab", "reset", "slab", "slab"]
    assert names[512:] == ["hugetlb"] * 512


def test_old_zsmalloc_is_not_mapped() -> None:
    # Up to v6.10 zsmalloc keeps an object's offset in the page_type word.
    pages = Memory(2, OLD).word(0, 64, refcount=1).set(0, OLD.mapping, 0xFFFFFFFF81000000 | 2)
    assert pages.types() == ["movable_ops", "reset"]


def test_unreadable_pages() -> None:
    pages = Memory(4)
    pages.readable = np.array([True, False, True, True])
    assert pages.types() == ["reset", "unreadable", "reset", "reset"]
    assert pages.uses() == ["idle", "unreadable", "idle", "idle"]
    assert pages.pages().unreadable == 1


def test_codes_of_a_name() -> None:
    assert np.flatnonzero(codes_of(MODERN, "zsmalloc")).tolist() == [0xF6]
    assert np.flatnonzero(codes_of(MODERN, "type_0xf9")).tolist() == [0xF9]
    assert np.flatnonzero(codes_of(MODERN, "untyped")).size == 4
    assert not codes_of(MODERN, "nonsense").any()
    # Bits combine: every slot that has the bit.
    assert np.flatnonzero(codes_of(OLD, "table")).size == 128
