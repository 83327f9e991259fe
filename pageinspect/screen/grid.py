# SPDX-License-Identifier: GPL-2.0-only
"""Draws the rows of a place. Only what is on the screen is made, so many rows cost little."""

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from .place import ScreenPlace
from .rows import GAP, Placed, cut, place

_HEAD = Style(bold=True, underline=True)
_CURSOR = Style(reverse=True)
_PLAIN = Style()


class ScreenGrid(Widget, can_focus=True):
    """Rows under a line of headings, or lines of text, with a cursor."""

    DEFAULT_CSS = "ScreenGrid { height: 1fr; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("up,k", "move(-1)", "Up"),
        ("down,j", "move(1)", "Down"),
        ("pageup,ctrl+b", "page(-1)", "Page up"),
        ("pagedown,space,ctrl+f", "page(1)", "Page down"),
        ("home,g", "end(-1)", "First"),
        ("end,G", "end(1)", "Last"),
        ("enter", "open", "Open"),
    ]

    class Opened(Message):
        """The row of the cursor is to be opened."""

    class Sorted(Message):
        """The rows are to be sorted by a column, or the other way round."""

        def __init__(self, heading: str) -> None:
            self.heading = heading
            super().__init__()

    class Moved(Message):
        """The cursor is on another row."""

    def __init__(self, shown: ScreenPlace) -> None:
        super().__init__()
        self.place = shown
        self.columns: list[Placed] = []

    def show(self, shown: ScreenPlace) -> None:
        """Draw a place, or draw it again."""
        self.place = shown
        self.fit()

    def fit(self) -> None:
        """Choose the columns for the width, and draw."""
        reading, width = self.place.reading, self.size.width
        self.columns = []
        if reading is not None and reading.columns:
            self.columns = place(reading, self.place.rows, width, self.place.order)
        self.place.wrap(max(width, 2))
        self.place.scroll(self.room)
        self.refresh()

    @property
    def room(self) -> int:
        """The number of rows or lines that the screen has room for."""
        return max(self.size.height - bool(self.columns), 1)

    def on_resize(self, _event: events.Resize) -> None:
        """Fit the columns to the new width."""
        self.fit()
        # Which rows are on the screen is in a line above.
        self.post_message(self.Moved())

    def render_line(self, y: int) -> Strip:
        """Return a line of the screen."""
        width = self.size.width
        if self.columns and y == 0:
            text, style = _joined([column.head for column in self.columns]), _HEAD
        else:
            n = self.place.top + y - bool(self.columns)
            text = self._text(n)
            at_cursor = n == self.place.cursor and n < self.place.length
            style = _CURSOR if at_cursor and self.columns else _PLAIN
        return Strip([Segment(text, style)]).adjust_cell_length(width, style)

    def _text(self, n: int) -> str:
        if self.columns:
            rows = self.place.rows
            return _joined([c.cell(rows[n]) for c in self.columns]) if n < len(rows) else ""
        lines = self.place.lines
        return cut(lines[n], self.size.width) if n < len(lines) else ""

    def action_move(self, step: int) -> None:
        """Move the cursor; in a text, the lines."""
        self._go(self.place.cursor + step if self.columns else self.place.top + step)

    def action_page(self, step: int) -> None:
        """Move by a screen."""
        self.action_move(step * max(self.room - 1, 1))

    def action_end(self, step: int) -> None:
        """Go to the first row or the last."""
        self._go(0 if step < 0 else self.place.length)

    def _go(self, to: int) -> None:
        shown = self.place
        if self.columns:
            shown.cursor = max(min(to, shown.length - 1), 0)
        else:
            shown.cursor = shown.top = max(min(to, shown.length - self.room), 0)
        shown.scroll(self.room)
        self.refresh()
        self.post_message(self.Moved())

    def action_open(self) -> None:
        """Open the row of the cursor."""
        self.post_message(self.Opened())

    def on_mouse_scroll_down(self, _event: events.MouseScrollDown) -> None:
        """Move down."""
        self.action_move(3)

    def on_mouse_scroll_up(self, _event: events.MouseScrollUp) -> None:
        """Move up."""
        self.action_move(-3)

    def on_click(self, event: events.Click) -> None:
        """Sort by a heading; move to a row, and open it at the second click."""
        if not self.columns:
            return
        if event.y == 0:
            self._sort_at(event.x)
            return
        n = self.place.top + event.y - 1
        if n == self.place.cursor:
            self.action_open()
        elif n < self.place.length:
            self._go(n)

    def _sort_at(self, x: int) -> None:
        end = 0
        for column in self.columns:
            end += column.width + GAP
            if x < end:
                self.post_message(self.Sorted(column.column.name))
                return


def _joined(cells: list[str]) -> str:
    return (" " * GAP).join(cells)
