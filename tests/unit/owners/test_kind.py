# SPDX-License-Identifier: GPL-2.0-only
"""Claims of owners, made of pfns and of ranges: each pfn once, for the first that has it."""

from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pageinspect.model.ranges import Range
from pageinspect.owners.kind import (
    Claims,
    Label,
    claims_of_pfns,
    claims_of_ranges,
    first_covering,
)

A, B, C = Label("a"), Label("b"), Label("c", "caller")


def of_pfns(*parts: tuple[Label, Sequence[int]]) -> Claims:
    return claims_of_pfns((label, np.array(pfns, np.int64)) for label, pfns in parts)


def rows(claims: Claims) -> list[tuple[int, int, Label]]:
    owners = [claims.labels[i] for i in claims.owners.tolist()]
    return list(zip(claims.starts.tolist(), claims.ends.tolist(), owners, strict=True))


@pytest.mark.parametrize("none", [of_pfns(), of_pfns((A, [])), of_pfns((A, [-1, -5]))])
def test_claims_of_nothing(none: Claims) -> None:
    assert rows(none) == []
    assert len(none) == 0
    assert none.at(np.array([0, 7])).tolist() == [-1, -1]


def test_claims_of_empty_ranges() -> None:
    for parts in ([], [(A, [])], [(A, [(5, 5)])], [(A, [(9, 3)])]):
        assert rows(claims_of_ranges(parts)) == []


def test_adjacent_pfns_of_one_owner_are_one_range() -> None:
    claims = of_pfns((A, [5, 3, 4, 4, -1, 9]), (B, [6, 7]))
    assert rows(claims) == [(3, 6, A), (6, 8, B), (9, 10, A)]
    assert claims.labels == (A, B)


def test_the_first_owner_has_a_pfn_that_two_have() -> None:
    assert rows(of_pfns((A, [1, 2]), (B, [2, 3]))) == [(1, 3, A), (3, 4, B)]
    assert rows(of_pfns((B, [2, 3]), (A, [1, 2]))) == [(1, 2, A), (2, 4, B)]


def test_an_owner_that_is_given_twice_is_one() -> None:
    parts = ((A, [1]), (B, [2]), (A, [3]), (Label("a"), [4]))
    claims = of_pfns(*parts)
    assert claims.labels == (A, B)
    assert rows(claims) == [(1, 2, A), (2, 3, B), (3, 5, A)]
    assert rows(claims_of_ranges((label, [(p, p + 1) for p in pfns]) for label, pfns in parts)) == (
        rows(claims)
    )


def test_the_first_owner_has_the_pages_of_ranges_that_overlap() -> None:
    claims = claims_of_ranges([(A, [(10, 20)]), (B, [(5, 15), (18, 30)]), (C, [(0, 40)])])
    assert rows(claims) == [(0, 5, C), (5, 10, B), (10, 20, A), (20, 30, B), (30, 40, C)]


def test_ranges_of_one_owner_may_overlap_in_any_order() -> None:
    assert rows(claims_of_ranges([(A, [(8, 9), (1, 4), (3, 6), (6, 8), (2, 3)])])) == [(1, 9, A)]


def test_ranges_are_read_once() -> None:
    def once(ranges: Iterable[Range]) -> Iterable[Range]:
        yield from ranges

    assert rows(claims_of_ranges(iter([(A, once([(1, 3), (2, 4)]))]))) == [(1, 4, A)]


def test_the_owner_of_each_pfn() -> None:
    claims = of_pfns((A, [3, 4]), (B, [8]))
    assert claims.at(np.array([8, 2, 3, 4, 5, 9, 0])).tolist() == [1, -1, 0, 0, -1, -1, -1]
    part = claims.between(1, 2)
    assert (rows(part), part.at(np.array([3, 8])).tolist()) == ([(8, 9, B)], [-1, 1])


PARTS = st.lists(
    st.tuples(
        st.sampled_from([A, B, C]),
        st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=4),
    ),
    max_size=5,
)


@given(PARTS)
def test_ranges_and_their_pfns_are_the_same_claims(parts: list[tuple[Label, list[Range]]]) -> None:
    owner: dict[int, Label] = {}
    for label, ranges in parts:
        for start, end in ranges:
            for pfn in range(start, end):
                owner.setdefault(pfn, label)
    by_ranges = claims_of_ranges(parts)
    by_pfns = of_pfns(*((label, [p for r in ranges for p in range(*r)]) for label, ranges in parts))
    for claims in (by_ranges, by_pfns):
        found = claims.at(np.arange(32)).tolist()
        assert [None if i < 0 else claims.labels[i] for i in found] == [
            owner.get(pfn) for pfn in range(32)
        ]
        assert (claims.starts < claims.ends).all()
        joined = claims.starts[1:] == claims.ends[:-1]
        assert (claims.starts[1:] >= claims.ends[:-1]).all()
        assert (claims.owners[1:] != claims.owners[:-1])[joined].all()


@pytest.mark.parametrize(
    ("bounds", "edges", "first"),
    [
        ([], [], []),
        ([(4, 6), (1, 3)], [1, 3, 4, 6], [1, -1, 0]),
        ([(2, 4), (0, 9), (3, 5)], [0, 2, 3, 4, 5, 9], [1, 0, 0, 1, 1]),
        ([(5, 2), (1, 3), (4, 4)], [1, 2, 3, 4, 5], [1, 1, -1, -1]),
    ],
    ids=["none", "apart", "overlapping", "empty"],
)
def test_the_first_range_that_covers_each_part(
    bounds: list[Range], edges: list[int], first: list[int]
) -> None:
    found = first_covering(np.array(bounds, np.int64).reshape(-1, 2))
    assert (found[0].tolist(), found[1].tolist()) == (edges, first)


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=9))
def test_parts_and_pages_have_the_same_first_range(bounds: list[Range]) -> None:
    edges, first = first_covering(np.array(bounds, np.int64).reshape(-1, 2))
    of_parts = np.full(40, -1)
    for start, end, i in zip(edges[:-1], edges[1:], first, strict=True):
        of_parts[start:end] = i
    for pfn, i in enumerate(of_parts.tolist()):
        covering = [n for n, (start, end) in enumerate(bounds) if start <= pfn < end]
        assert i == min(covering, default=-1)
