# SPDX-License-Identifier: GPL-2.0-only
"""Which rows of a reading are shown, in which order, and how wide its columns are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size

from .reading import ScreenColumn, ScreenReading

GAP = 2
_LEAST_TEXT = 32
"""Columns are left out before texts get narrower than this."""
_NARROWEST_TEXT = 8
_ARROWS = {True: "↓", False: "↑"}
_CUT = "…"


@dataclass(frozen=True, slots=True)
class Order:
    """How rows are chosen and sorted."""

    by: str = ""
    """The heading of a column; empty is the order of the report."""
    descending: bool = True
    text: str = ""
    """Rows that have this in one of their texts are shown."""

    def rows(self, reading: ScreenReading) -> list[int]:
        """Return the numbers of the rows to show."""
        chosen = self._chosen(reading)
        column = next((c for c in reading.columns if c.name == self.by), None)
        if column is None:
            return chosen
        if column.values is None:
            texts = column.texts
            return sorted(chosen, key=lambda i: texts[i].casefold(), reverse=self.descending)
        numbers, sign = column.values, -1 if self.descending else 1

        def place(i: int) -> tuple[bool, float]:
            value = numbers[i]
            return (True, 0) if value is None else (False, sign * value)

        return sorted(chosen, key=place)

    def _chosen(self, reading: ScreenReading) -> list[int]:
        every = range(len(reading))
        if not self.text:
            return [*every]
        wanted = self.text.casefold()
        searched = [c.texts for c in reading.columns if not c.is_number or c.names_row]
        return [i for i in every if any(wanted in texts[i].casefold() for texts in searched)]


class Placed(NamedTuple):
    """A column as it is shown."""

    column: ScreenColumn
    heading: str
    width: int

    def cell(self, row: int) -> str:
        """Return the text of a row, as wide as the column."""
        text = self.column.texts[row]
        if self.column.is_number:
            return _right(text, self.width)
        return set_cell_size(cut(text, self.width), self.width)

    @property
    def head(self) -> str:
        """The heading, as wide as the column."""
        if self.column.is_number:
            return _right(self.heading, self.width)
        return set_cell_size(self.heading, self.width)


def _right(text: str, width: int) -> str:
    return " " * (width - cell_len(text)) + text


def cut(text: str, width: int) -> str:
    """Return a text that fits: of a path its end, of another text its beginning."""
    if cell_len(text) <= width:
        return text
    if "/" not in text:
        return set_cell_size(text, max(width - 1, 0)).rstrip() + _CUT
    end = text[-width + 1 :] if width > 1 else ""
    while cell_len(end) > width - 1:
        end = end[1:]
    return _CUT + end


def place(reading: ScreenReading, rows: Sequence[int], width: int, order: Order) -> list[Placed]:
    """Return the columns that fit into a width; those with most to spare are left out first."""
    shown = [c for c in reading.columns if not c.hidden]
    shown = [c for c in shown if c.is_number or not rows or any(c.texts[i] for i in rows)]
    headings = {c.name: _heading(c, order) for c in shown}
    widths = {c.name: max((cell_len(c.texts[i]) for i in rows), default=0) for c in shown}
    for name, heading in headings.items():
        widths[name] = max(widths[name], cell_len(heading))
    least = {
        c.name: widths[c.name] if c.is_number else min(widths[c.name], _LEAST_TEXT) for c in shown
    }
    while sum(least[c.name] + GAP for c in shown) - GAP > width:
        spare = [c for c in shown if c.spare and c.name != order.by]
        if not spare:
            break
        shown.remove(max(spare, key=lambda c: c.spare))
    over = sum(widths[c.name] + GAP for c in shown) - GAP - width
    texts = sorted((c.name for c in shown if not c.is_number), key=lambda name: -widths[name])
    for narrowest in (_LEAST_TEXT, _NARROWEST_TEXT):
        for name in texts:
            taken = max(min(over, widths[name] - narrowest), 0)
            widths[name] -= taken
            over -= taken
    return [Placed(c, headings[c.name], widths[c.name]) for c in shown]


def _heading(column: ScreenColumn, order: Order) -> str:
    if column.name != order.by:
        # There is always room for the arrow, so that sorting moves no column.
        return column.name + " " if not column.is_number else " " + column.name
    arrow = _ARROWS[order.descending]
    return arrow + column.name if column.is_number else column.name + arrow


def identity(reading: ScreenReading, row: int) -> tuple[str, ...]:
    """Return what a row is recognized by in the next reading."""
    return tuple(column.texts[row] for column in reading.columns if column.names_row)
