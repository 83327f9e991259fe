# SPDX-License-Identifier: GPL-2.0-only
"""Pages by owner: sums of any parts, in memory that grows with owners, and ranges of owners."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pageinspect.owners import counts
from pageinspect.owners.assign import Assigned
from pageinspect.owners.counts import OwnerPages, OwnerSums, added, count, no_pages, ranges_of

Row = tuple[int, int, int, int]
"""Kind, key, cgroup, pages."""
ROWS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 1), st.integers(1, 9)),
    max_size=12,
)


def owner_pages(rows: Sequence[Row]) -> OwnerPages:
    kinds, keys, groups, pages = zip(*rows, strict=True) if rows else ((), (), (), ())
    return OwnerPages(
        np.array(kinds, np.int16),
        np.array(keys, np.uint64),
        np.array(groups, np.uint64),
        np.array(pages, np.int64),
    )


def as_dict(pages: OwnerPages) -> dict[tuple[int, int, int], int]:
    columns = (pages.kinds, pages.keys, pages.groups, pages.pages)
    rows = list(zip(*(column.tolist() for column in columns), strict=True))
    assert [row[:3] for row in rows] == sorted({row[:3] for row in rows})
    return {row[:3]: row[3] for row in rows}


def pieces(*rows: tuple[int, int, int, int]) -> Assigned:
    """Return pieces, given as start, length, kind and key."""
    starts, lengths, kinds, keys = (np.array(column) for column in zip(*rows, strict=True))
    return Assigned(
        starts, lengths, np.arange(len(rows)), kinds.astype(np.int16), keys.astype(np.uint64)
    )


@given(st.lists(ROWS, max_size=5))
def test_counts_add_up_in_any_parts(parts: list[list[Row]]) -> None:
    expected: dict[tuple[int, int, int], int] = {}
    for *key, n in (row for part in parts for row in part):
        expected[tuple(key)] = expected.get(tuple(key), 0) + n
    found = added(map(owner_pages, parts))
    assert as_dict(found) == expected
    assert found.total == sum(expected.values())
    sums = OwnerSums()
    for part in parts:
        sums.add(owner_pages(part))
    assert as_dict(sums.counts()) == expected


def test_no_pages() -> None:
    assert (len(no_pages()), no_pages().total) == (0, 0)
    assert as_dict(added([])) == {}
    assert as_dict(OwnerSums().counts()) == {}


def test_keys_are_compared_as_64_bits() -> None:
    top = (1 << 64) - 1
    found = added([owner_pages([(0, top, top, 1), (0, top - 1, top, 2), (0, top, top, 3)])])
    assert as_dict(found) == {(0, top, top): 4, (0, top - 1, top): 2}


def test_memory_grows_with_owners_and_not_with_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "_MERGE_AT", 64)
    sums = OwnerSums()
    sums._merge_at = 64
    most = 0
    for _ in range(1000):
        sums.add(owner_pages([(0, key, 0, 1) for key in range(10)]))
        most = max(most, sum(map(len, sums._parts)))
    assert most <= 64
    assert as_dict(sums.counts()) == {(0, key, 0): 1000 for key in range(10)}
    # With more owners than that, counts are not added up again for each part.
    sums.add(owner_pages([(1, key, 0, 1) for key in range(500)]))
    assert len(sums._parts) == 1
    sums.add(owner_pages([(2, 0, 0, 1)]))
    assert len(sums._parts) == 2


def test_owners_with_most_pages_first() -> None:
    found = owner_pages([(0, 1, 0, 5), (0, 2, 0, 9), (1, 1, 0, 5), (1, 2, 0, 1)]).largest_first()
    assert found.pages.tolist() == [9, 5, 5, 1]
    assert found.kinds.tolist() == [0, 0, 1, 1]
    assert found.where(slice(2)).total == 14
    assert found.where(found.kinds == 1).keys.tolist() == [1, 2]


def test_pieces_are_counted_by_their_lengths() -> None:
    found = pieces((0, 5, 1, 7), (5, 1, 2, 7), (6, 2, 1, 7))
    assert as_dict(count(found)) == {(1, 7, 0): 7, (2, 7, 0): 1}
    groups = np.array([3, 3, 4], np.uint64)
    assert as_dict(count(found, groups)) == {(1, 7, 3): 5, (1, 7, 4): 2, (2, 7, 3): 1}


def test_adjacent_pieces_of_one_owner_are_one_range() -> None:
    found = ranges_of(
        [
            pieces((0, 5, 1, 7), (5, 1, 1, 7), (6, 1, 2, 7), (7, 1, 2, 8), (9, 1, 2, 8)),
            pieces((10, 4, 2, 8), (20, 1, 1, 7)),
        ]
    )
    assert list(zip(found.starts.tolist(), found.ends.tolist(), strict=True)) == [
        *((0, 6), (6, 7), (7, 8), (9, 14), (20, 21))
    ]
    assert found.kinds.tolist() == [1, 2, 2, 2, 1]
    assert found.keys.tolist() == [7, 7, 8, 8, 7]
    # Ranges of several owners that are asked for are joined as well.
    assert found.of(found.kinds == 2) == [(6, 8), (9, 14)]
    assert found.of(found.kinds > 0) == [(0, 8), (9, 14), (20, 21)]
    assert ranges_of([]).of(np.empty(0, np.bool_)) == []
    assert found.by_owner() == {
        (1, 7): [(0, 6), (20, 21)],
        (2, 7): [(6, 7)],
        (2, 8): [(7, 8), (9, 14)],
    }
    assert ranges_of([]).by_owner() == {}
    mixed = ranges_of([pieces((0, 1, 2, 8), (1, 1, 2, 7), (2, 1, 1, 8), (3, 2, 2, 8))])
    assert mixed.by_owner() == {(1, 8): [(2, 3)], (2, 7): [(1, 2)], (2, 8): [(0, 1), (3, 5)]}
