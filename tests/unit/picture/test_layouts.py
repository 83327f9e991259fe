# SPDX-License-Identifier: GPL-2.0-only
"""Where cells are drawn."""

import re

import numpy as np
import pytest

from pageinspect.errors import UsageError
from pageinspect.picture.cells import CodedRuns
from pageinspect.picture.layouts import Layout, cell_text, curve, default_shift, hilbert_of, rows_of

MANY = 1 << 30


def memory(*ranges: tuple[int, int]) -> list[CodedRuns]:
    starts, ends = np.array(ranges, np.int64).T
    return [CodedRuns(starts, ends - starts, np.zeros(len(starts), np.uint8))]


@pytest.mark.parametrize("level", range(7))
def test_a_curve_visits_each_place_once_and_neighbours_one_after_another(level: int) -> None:
    x, y = curve(level)
    side = 1 << level
    assert sorted(zip(x.tolist(), y.tolist(), strict=True)) == [
        (i, j) for i in range(side) for j in range(side)
    ]
    assert (np.abs(np.diff(x)) + np.abs(np.diff(y)) == 1).all()
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, side - 1, 0)


@pytest.mark.parametrize(
    "ranges",
    [((0, 100),), ((0, 1 << 19),), ((3 << 18, 6 << 18),), ((1000, 1001), (70_000, 90_000))],
)
def test_squares_side_by_side_are_one_curve(ranges: tuple[tuple[int, int], ...]) -> None:
    layout = hilbert_of(memory(*ranges), 4, MANY)
    ((start, end),) = layout.windows
    assert start <= ranges[0][0]
    assert end >= ranges[-1][1]
    cells = layout.rows * layout.columns
    assert end - start == cells << 4
    places = [layout.place(pfn) for pfn in range(start, end, 16)]
    assert len({*places}) == cells
    ys, xs = np.array(places).T
    assert (np.abs(np.diff(xs)) + np.abs(np.diff(ys)) == 1).all()
    # picture() draws a cell where place() says it is.
    drawn = layout.picture(np.arange(cells))
    assert [drawn[place] for place in places] == list(range(cells))


def test_rows_of_1_gib_begin_at_multiples_and_leave_out_rows_without_pages() -> None:
    gib = 1 << 18
    layout = rows_of(memory((1, gib + 7), (5 * gib + 9, 5 * gib + 10)), 9, MANY)
    assert layout.row_pages == gib
    assert layout.columns == 512
    assert layout.starts().tolist() == [0, gib, 5 * gib]
    assert layout.place(0) == (0, 0)
    assert layout.place(gib + 512) == (1, 1)
    assert layout.place(5 * gib + 1025) == (2, 2)
    assert layout.place(3 * gib) is None
    drawn = layout.picture(np.arange(3 * 512))
    assert drawn[2, 2] == 2 * 512 + 2


def test_little_memory_has_smaller_cells_and_much_has_longer_rows() -> None:
    assert default_shift(1 << 19) == default_shift(1 << 31) == 9
    assert default_shift(1 << 15) == 5
    assert default_shift(7) == default_shift(0) == 0
    few = rows_of(memory((0x1000, 0x3000)), 0, MANY)
    assert few.rows > 16
    large = rows_of(memory((0, 1 << 31)), 9, MANY)
    assert large.rows <= 2048
    assert large.rows * large.columns == 1 << 22


@pytest.mark.parametrize("make", [rows_of, hilbert_of])
def test_too_many_cells_are_refused_with_a_size_that_fits(make: object) -> None:
    runs = memory((0, 1 << 24))
    with pytest.raises(UsageError) as caught:
        make(runs, 0, 1 << 16)  # type: ignore[operator]
    (asked,) = re.findall(r"--cell (\w+)", caught.value.hint)
    shift = next(s for s in range(30) if cell_text(s) == asked)
    layout: Layout = make(runs, shift, 1 << 16)  # type: ignore[operator]
    assert layout.rows * layout.columns <= 1 << 16


def test_memory_blocks_can_be_marked_along_rows_or_beside_them() -> None:
    layout = rows_of(memory((0, 1 << 21)), 9, MANY)
    assert layout.blocks_in_rows(1 << 15)
    assert not layout.rows_in_blocks(1 << 15)
    assert layout.rows_in_blocks(1 << 19)
    assert not layout.blocks_in_rows(1 << 19)
    # Marks would touch.
    assert not layout.blocks_in_rows(1 << 9)
