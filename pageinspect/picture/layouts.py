# SPDX-License-Identifier: GPL-2.0-only
"""Where the cells of a picture are: rows of pfns, or a Hilbert curve."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..model.arch import GIGANTIC_ORDER, PAGE_SHIFT, PAGEBLOCK_PFNS
from ..model.ranges import Range, count, merge
from ..units import number, size
from .cells import CodedRuns, Integers

DEFAULT_SHIFT = PAGEBLOCK_PFNS.bit_length() - 1
COLUMNS = 512
"""Cells in a row, unless there are few."""
_FEW = 1024
"""Memory has at least this many cells by default, if it has as many pages."""
_NARROWEST, _WIDEST = 32, 8 * COLUMNS
_MOST_ROWS = 2048
"""With more rows, rows are longer."""
_MOST_SQUARES = 3
_LEAST_BLOCK = 4
"""Cells of the smallest blocks that are marked."""
_MOST_BLOCKS = 100


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """The places of cells in a picture."""

    columns: int
    rows: int
    shift: int
    """log2 of the pages of a cell."""
    windows: tuple[Range, ...]
    """The pfns of the cells, one window after another: multiples of the pages of a cell."""
    places: Integers | None = None
    """The place of each cell, row times columns plus column, (n,); None if they are in order."""

    @property
    def cell_pages(self) -> int:
        """Pages of each cell."""
        return 1 << self.shift

    @property
    def is_curve(self) -> bool:
        """Whether it is a Hilbert curve."""
        return self.places is not None

    @property
    def side(self) -> int:
        """Cells on the side of each square of a Hilbert curve."""
        return self.rows

    def picture(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the values of cells, (n,), where they are drawn: (rows, columns)."""
        if self.places is not None:
            drawn = np.empty_like(values)
            drawn[self.places] = values
            values = drawn
        return values.reshape(self.rows, self.columns)

    def starts(self) -> Integers:
        """Return the first pfn of each row, (rows,), of a layout of rows."""
        row = self.row_pages
        return np.concatenate([np.arange(start, end, row) for start, end in self.windows])

    @property
    def row_pages(self) -> int:
        """Pages of a row."""
        return self.columns << self.shift

    def blocks_in_rows(self, pages: int) -> bool:
        """Return whether the blocks of this many pages that a row has can be marked along it."""
        few = self.row_pages // pages * _LEAST_BLOCK <= self.columns
        return not self.is_curve and self.cell_pages <= pages < self.row_pages and few

    def rows_in_blocks(self, pages: int) -> bool:
        """Return whether blocks of this many pages, of whole rows, can be marked beside rows."""
        if self.is_curve or pages < self.row_pages:
            return False
        return 0 < int(np.count_nonzero(self.starts() % pages == 0)) <= _MOST_BLOCKS

    def place(self, pfn: int) -> tuple[int, int] | None:
        """Return the row and column of the cell with a pfn; None if there is none."""
        before = 0
        for start, end in self.windows:
            if start <= pfn < end:
                cell = before + (pfn - start >> self.shift)
                at = cell if self.places is None else int(self.places[cell])
                return divmod(at, self.columns)
            before += end - start >> self.shift
        return None


def default_shift(pages: int) -> int:
    """Return log2 of the pages of a cell: those of a pageblock, or fewer for little memory."""
    return min(DEFAULT_SHIFT, max((pages // _FEW).bit_length() - 1, 0))


def rows_of(runs: Sequence[CodedRuns], shift: int, most: int, columns: int | None = None) -> Layout:
    """Return rows with all pages of the runs; rows without pages are left out.

    A row begins at a multiple of its pages. Raises UsageError for more than `most` cells.
    """
    if columns is None:
        # With fewer cells, lines are shorter, so that there are several.
        last = max(int(each.ends[-1]) for each in runs)
        first = min(int(each.starts[0]) for each in runs)
        few = max(_NARROWEST, 1 << ((last - first >> shift).bit_length() + 1) // 2)
        columns = COLUMNS if shift >= DEFAULT_SHIFT else min(COLUMNS, few)
        while columns < _WIDEST and _count(runs, columns << shift) > _MOST_ROWS:
            columns *= 2
    row = columns << shift
    windows = _windows(runs, row)
    rows = count(windows) // row
    _check(rows * columns, most, shift, "the rows")
    return Layout(columns, rows, shift, tuple(windows))


def _count(runs: Sequence[CodedRuns], row: int) -> int:
    """Return the number of rows."""
    return count(_windows(runs, row)) // row


def _windows(runs: Sequence[CodedRuns], row: int) -> list[Range]:
    return merge(window for each in runs for window in each.windows(row))


def hilbert_of(runs: Sequence[CodedRuns], shift: int, most: int) -> Layout:
    """Return a Hilbert curve in squares side by side, from the first page of the runs to the last.

    Neighbours on the curve are neighbours in memory, also from one square to the next. A square
    begins at a multiple of its pages. Raises UsageError for more than `most` cells.
    """
    first = min(int(each.starts[0]) for each in runs)
    last = max(int(each.ends[-1]) for each in runs) - 1
    level = 0
    while (last >> shift + 2 * level) - (first >> shift + 2 * level) >= _MOST_SQUARES:
        level += 1
    bits = shift + 2 * level
    squares = (last >> bits) - (first >> bits) + 1
    _check(squares << 2 * level, most, shift, "the curve")
    x, y = curve(level)
    side = 1 << level
    places = np.concatenate([y * (squares * side) + x + i * side for i in range(squares)])
    window = first >> bits << bits, ((last >> bits) + 1) << bits
    return Layout(squares * side, side, shift, (window,), places)


def curve(level: int) -> tuple[Integers, Integers]:
    """Return x and y of the 4 ** level places of a Hilbert curve from (0, 0) to (side - 1, 0)."""
    x = y = np.zeros(1, np.int64)
    for side in (1 << i for i in range(level)):
        x, y = (
            np.concatenate((y, x, x + side, 2 * side - 1 - y)),
            np.concatenate((x, y + side, y + side, side - 1 - x)),
        )
    return x, y


def _check(cells: int, most: int, shift: int, what: str) -> None:
    if cells <= most:
        return
    fits = shift
    while cells > most and fits < GIGANTIC_ORDER:
        fits, cells = fits + 1, cells >> 1
    raise UsageError(
        f"{what} would have more than {number(most)} cells of {size(1 << shift + PAGE_SHIFT)}",
        f"give larger cells, --cell {cell_text(fits)}, or fewer pages: --pfn",
    )


def cell_text(shift: int) -> str:
    """Return the size of a cell as --cell takes it: 2M."""
    text = size(1 << shift + PAGE_SHIFT)
    return text.removesuffix("iB").replace(" ", "")
