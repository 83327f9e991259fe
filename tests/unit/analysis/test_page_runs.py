# SPDX-License-Identifier: GPL-2.0-only
"""Runs of pages: what is joined, and that a reader finds the heads of folios again."""

from collections.abc import Sequence

import numpy as np
import pytest

from pageinspect.analysis.page_runs import PageRuns, joined, page_runs

Piece = tuple[int, int, int, bool, str]
"""First pfn, pages, order, whether its pages are heads, the value of the only other column."""


def _runs(pieces: Sequence[Piece]) -> PageRuns:
    starts, lengths, orders, heads, values = (
        zip(*pieces, strict=True) if pieces else ((), (), (), (), ())
    )
    return page_runs(
        np.array(starts, np.int64),
        np.array(lengths, np.int64),
        np.array(orders, np.uint8),
        np.array(heads, np.bool_),
        [np.array(values, "U1")],
    )


def _rows(runs: PageRuns) -> list[tuple[int, int, int, int, str]]:
    columns = (runs.starts, runs.lengths, runs.folios, runs.orders, runs.columns[0])
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _heads(runs: PageRuns) -> set[int]:
    """Return the heads as a reader of a snapshot finds them, page by page."""
    found: set[int] = set()
    for start, pages, folios, order, _ in _rows(runs):
        pfns = range(start, start + pages)
        multiples = {pfn for pfn in pfns if pfn % (1 << order) == 0}
        if folios == len(multiples):
            found |= multiples
        else:
            assert folios in (0, pages)
            found |= {*pfns} if folios else set()
    return found


def _folio(first: int, order: int, value: str = "a") -> list[Piece]:
    return [(first, 1, order, True, value), (first + 1, (1 << order) - 1, order, False, value)]


def test_neighbouring_folios_of_one_order_and_owner_are_one_run() -> None:
    slabs = [piece for i in range(300) for piece in _folio(4096 + 8 * i, 3)]
    assert _rows(_runs(slabs)) == [(4096, 2400, 300, 3, "a")]


@pytest.mark.parametrize(
    ("pieces", "rows"),
    [
        ([], []),
        ([(0, 4, 0, True, "a"), (4, 2, 0, True, "a")], [(0, 6, 6, 0, "a")]),
        ([(0, 4, 0, True, "a"), (4, 2, 0, True, "b")], [(0, 4, 4, 0, "a"), (4, 2, 2, 0, "b")]),
        ([(0, 4, 0, True, "a"), (5, 2, 0, True, "a")], [(0, 4, 4, 0, "a"), (5, 2, 2, 0, "a")]),
        ([*_folio(8, 3), *_folio(16, 2)], [(8, 8, 1, 3, "a"), (16, 4, 1, 2, "a")]),
        ([*_folio(8, 3), *_folio(16, 3, "b")], [(8, 8, 1, 3, "a"), (16, 8, 1, 3, "b")]),
        # The tails of a folio whose head has another owner or lies outside.
        ([(9, 7, 3, False, "a"), *_folio(16, 3)], [(9, 15, 1, 3, "a")]),
        # A head that is not aligned, and tails where a head should be.
        (
            [(8, 1, 3, True, "a"), (9, 1, 3, True, "a"), (10, 6, 3, False, "a")],
            [(8, 1, 1, 3, "a"), (9, 1, 1, 3, "a"), (10, 6, 0, 3, "a")],
        ),
        ([(8, 8, 3, False, "a"), *_folio(16, 3)], [(8, 8, 0, 3, "a"), (16, 8, 1, 3, "a")]),
        # Pages after the first one of an allocation that is not compound, and of free blocks.
        ([(8, 1, 0, True, "a"), (9, 3, 0, False, "a")], [(8, 1, 1, 0, "a"), (9, 3, 0, 0, "a")]),
    ],
)
def test_runs(pieces: list[Piece], rows: list[tuple[int, int, int, int, str]]) -> None:
    runs = _runs(pieces)
    assert _rows(runs) == rows
    heads = {first + i for first, pages, _, head, _ in pieces if head for i in range(pages)}
    assert _heads(runs) == heads


def test_parts_are_sorted_and_joined() -> None:
    first, second = _runs(_folio(8, 3)), _runs(_folio(16, 3))
    for parts in ([first, second], [second, first]):
        assert _rows(joined(parts)) == [(8, 16, 2, 3, "a")]


@pytest.mark.parametrize("seed", range(20))
def test_heads_are_found_in_any_memory(seed: int) -> None:
    random = np.random.default_rng(seed)
    n = 500
    lengths = random.choice([1, 1, 1, 2, 3, 7, 8], n)
    starts = np.cumsum(lengths + random.choice([0, 0, 0, 5], n)) - lengths
    orders, heads = random.choice([0, 1, 3], n), random.random(n) < 0.4
    values = random.choice(["a", "b"], n)
    pieces: list[Piece] = list(
        zip(*(x.tolist() for x in (starts, lengths, orders, heads, values)), strict=True)
    )
    runs = joined([_runs(pieces[:200]), _runs(pieces[200:])])
    assert _heads(runs) == {s + i for s, pages, _, head, _ in pieces if head for i in range(pages)}
    assert len(runs.starts) < n
    assert runs.lengths.sum() == lengths.sum()
