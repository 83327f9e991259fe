# SPDX-License-Identifier: GPL-2.0-only
"""Sets of pfns as their edges, against sets of Python."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pageinspect.model.presence import PfnSet, Presence, pfn_set

RANGES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 9)), max_size=8)


def made(ranges: list[tuple[int, int]]) -> tuple[PfnSet, set[int]]:
    rows = np.array(ranges, np.int64).reshape(-1, 2)
    plain = {pfn for start, n in ranges for pfn in range(start, start + n)}
    return pfn_set(rows[:, 0], rows.sum(axis=1)), plain


def members(found: PfnSet) -> set[int]:
    assert (np.diff(found.edges) > 0).all()
    return {pfn for start, end in found.ranges() for pfn in range(start, end)}


@given(RANGES)
def test_ranges_may_overlap_and_come_in_any_order(ranges: list[tuple[int, int]]) -> None:
    found, plain = made(ranges)
    assert members(found) == plain
    assert len(found) == len(plain)
    assert found.has(np.arange(80)).tolist() == [pfn in plain for pfn in range(80)]


@given(RANGES, RANGES)
def test_minus(left: list[tuple[int, int]], right: list[tuple[int, int]]) -> None:
    one, pages = made(left)
    other, taken = made(right)
    assert members(one.minus(other)) == pages - taken


@given(RANGES, RANGES)
def test_edges_are_those_of_all_sets(
    left: list[tuple[int, int]], right: list[tuple[int, int]]
) -> None:
    one, other = made(left)[0], made(right)[0]
    presence = Presence("kdump", one, one, other)
    expected = {*one.edges.tolist(), *other.edges.tolist()}
    assert presence.edges.tolist() == sorted(expected)


@given(RANGES)
def test_pfns_below(ranges: list[tuple[int, int]]) -> None:
    found, plain = made(ranges)
    asked = np.arange(80)
    assert found.below(asked).tolist() == [sum(pfn < limit for pfn in plain) for limit in range(80)]


@given(RANGES, st.integers(0, 12))
def test_first_pfns(ranges: list[tuple[int, int]], most: int) -> None:
    found, plain = made(ranges)
    assert found.first(most) == sorted(plain)[:most]
