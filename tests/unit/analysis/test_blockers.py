# SPDX-License-Identifier: GPL-2.0-only
"""Owners by the blocks that they alone keep from being free."""

import numpy as np
import pytest

from pageinspect.analysis.blockers import Blockers, InTheWay, in_the_way

A, B, C = 3, 4, 5


def rows(*given: tuple[int, int, int, int, bool]) -> InTheWay:
    """Return rows of (block, owner, key, pages, misplaced)."""
    blocks, who, keys, pages, misplaced = zip(*given, strict=True)
    return in_the_way(
        np.array(blocks),
        np.array(who),
        np.array(keys, np.uint64),
        np.zeros(len(given), np.uint8),
        np.array(pages),
        np.array(misplaced),
    )


PARTS = (
    # Block 0: A alone, in two ranges. Block 1: A and B. Block 2: B alone, two caches of C in 3.
    ((0, A, 0, 2, True), (1, A, 0, 1, False), (0, A, 0, 3, True), (1, B, 7, 1, False)),
    ((2, B, 7, 9, False), (3, C, 1, 1, False), (3, C, 2, 1, False)),
    # Block 4 has reserved pages.
    ((4, B, 7, 5, True),),
)
WHOLE = np.array([True, True, True, True, False])
EXPECTED = {
    # pages, misplaced, blocks, alone
    (A, 0): (6, 5, 2, 1),
    (B, 7): (15, 5, 3, 1),
    (C, 1): (1, 0, 1, 0),
    (C, 2): (1, 0, 1, 0),
}


@pytest.mark.parametrize("order", [9, 15, 16, 18])
def test_alone_is_the_only_owner_of_a_block_that_could_be_free(order: int) -> None:
    blockers, others = Blockers(order), Blockers(order)
    for i, part in enumerate(PARTS):
        given = rows(*part)
        (others if i else blockers).add(given, WHOLE[given.blocks])
    blockers.merge(others)
    found = blockers.sums(WHOLE)
    columns = (found.pages, found.misplaced, found.blocks, found.alone)
    owners = zip(found.who.tolist(), found.keys.tolist(), strict=True)
    numbers = zip(*(column.tolist() for column in columns), strict=True)
    assert dict(zip(owners, numbers, strict=True)) == EXPECTED
    ranked = found.ranked()
    assert ranked.who.tolist()[:2] == [B, A]
    assert len(ranked) == 4


def test_a_large_block_is_in_several_parts() -> None:
    blockers = Blockers(18)
    for who in (A, A, B):
        given = rows((who, who, 0, 1, False))
        blockers.add(
            InTheWay(
                given.blocks * 0, *[given.who, given.keys, given.ways, given.pages, given.misplaced]
            ),
            WHOLE[:1],
        )
    found = blockers.sums(WHOLE)
    assert found.alone.tolist() == [0, 0]
    assert found.blocks.tolist() == [1, 1]
    assert found.pages.tolist() == [2, 1]


def test_many_parts_are_added_up_meanwhile() -> None:
    blockers = Blockers(9)
    for block in range(200):
        blockers.add(rows((block, A, 0, 2, False)), np.array([True]))
    assert len(blockers.parts) <= 65
    found = blockers.sums(np.ones(200, np.bool_))
    assert (found.pages.tolist(), found.blocks.tolist()) == ([400], [200])
    assert found.alone.tolist() == [200]


def test_nothing() -> None:
    for order in (9, 18):
        assert len(Blockers(order).sums(WHOLE).ranked()) == 0
