# SPDX-License-Identifier: GPL-2.0-only
"""The terminal application of `top`."""

import asyncio
import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual import events, on
from textual.actions import SkipAction
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input, Static

from ..units import printable
from .client import ReadingSource
from .grid import ScreenGrid
from .help import HELP
from .keys import UNCHANGING, key_line
from .pace import Pace
from .place import ScreenPlace
from .reading import Question, ScreenReading
from .rows import cut
from .tabs import TABS

_LEAST_S, _MOST_S = 0.5, 3600.0
_TERMINAL_CHECK_S = 1.0


class TabLine(Static):
    """The names of the tabs, of which one is chosen."""

    class Chosen(Message):
        """A tab was clicked on."""

        def __init__(self, index: int) -> None:
            self.index = index
            super().__init__()

    def draw(self, chosen: int) -> None:
        """Write the names."""
        text = Text(no_wrap=True)
        for i, tab in enumerate(TABS):
            style = Style(bold=True, reverse=True) if i == chosen else Style()
            text.append(f" {i + 1} {tab.name} ", style)
        self.update(text)

    def on_click(self, event: events.Click) -> None:
        """Choose the tab at this place."""
        end = 0
        for i, tab in enumerate(TABS):
            end += len(f" {i + 1} {tab.name} ")
            if event.x < end:
                self.post_message(self.Chosen(i))
                return


_ANY = ScreenReading(changing=True)
"""Of memory that is not known to stay as it is."""


class TopScreen(App[None]):
    """Shows readings of a source, which it asks again at an interval."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    * { scrollbar-size: 0 0; }
    Screen, Static, ScreenGrid, Input, Input:focus {
        background: ansi_default; color: ansi_default;
    }
    Static { height: 1; }
    #keys { dock: bottom; }
    #message { height: auto; min-height: 1; max-height: 3; }
    Input, Input:focus { height: 1; border: none; padding: 0; display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(i + 1), f"tab({i})", tab.name) for i, tab in enumerate(TABS)),
        Binding("tab,right", "next_tab(1)", "Next tab"),
        Binding("shift+tab,left", "next_tab(-1)", "Last tab"),
        Binding("r", "read", "Read"),
        Binding("m", "mark", "Mark"),
        Binding("p", "pause", "Pause"),
        Binding("s", "sort(1)", "Sort"),
        Binding("S", "reverse", "Reverse"),
        # In the application itself, so that the next key goes where these lead.
        Binding("slash", "filter", "Filter", priority=True),
        Binding("escape", "leave", "Back", priority=True),
        Binding("n", "other_page(1)", "Next page"),
        Binding("N", "other_page(-1)", "Last page"),
        Binding("plus,equals_sign", "interval(2)", "Slower"),
        Binding("minus", "interval(0.5)", "Faster"),
        Binding("question_mark,f1,h", "help", "Help"),
        Binding("ctrl+z", "suspend_process", "Suspend"),
        Binding("q,ctrl+q,ctrl+c", "quit", "Quit"),
    ]

    def __init__(
        self,
        source: ReadingSource,
        interval: float,
        clock: Callable[[], float] = time.monotonic,
        *,
        opened: ScreenReading = _ANY,
    ) -> None:
        super().__init__(ansi_color=True)
        self._source = source
        self._clock = clock
        self._pace = Pace(interval)
        self._tabs = [ScreenPlace(tab.name, tab.question, tab) for tab in TABS]
        self._chosen = 0
        self._opened: list[ScreenPlace] = []
        """What was opened from the tab, one from the other."""
        self._wanted = True
        self._mark = False
        self._paused = False
        self._reading = False
        self._suspended = 0
        self._unanswered = ""
        """Why the last key did nothing."""
        self._started = 0.0
        self._drawn_cpu = time.process_time()
        self._about, self._changing = opened.about, opened.changing
        self._wake = asyncio.Event()

    @property
    def place(self) -> ScreenPlace:
        """What is shown."""
        return self._opened[-1] if self._opened else self._tabs[self._chosen]

    def compose(self) -> ComposeResult:
        """Make the lines of the screen."""
        yield Static(id="about", markup=False)
        yield TabLine(id="tabs", markup=False)
        yield Static(id="status", markup=False)
        yield ScreenGrid(self.place)
        yield Static(id="message", markup=False)
        yield Input(id="filter", placeholder="rows with this text; Enter keeps, Esc clears")
        yield Static(id="keys", markup=False)

    def on_mount(self) -> None:
        """Begin to read."""
        self.query_one(ScreenGrid).focus()
        self.draw()
        self.app_resume_signal.subscribe(self, self._resumed)
        self.set_interval(_TERMINAL_CHECK_S, self._check_terminal)
        self.run_worker(self._read_on(), exclusive=True)

    def on_resize(self, _event: events.Resize) -> None:
        """Write the lines for the new width."""
        self.call_after_refresh(self.draw)

    # Reading

    async def _read_on(self) -> None:
        while True:
            await self._until_due()
            await self._read_once()

    async def _until_due(self) -> None:
        """Wait until something is to be read."""
        while not self._is_due():
            self._wake.clear()
            left = None
            if self._repeats:
                left = max(self._started + self._pace.period - self._clock(), 0.01)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), left)

    @property
    def _repeats(self) -> bool:
        """Whether what is shown is read again at the interval."""
        readable = self.place.question is not None
        return self._changing and readable and not self._paused and not self._suspended

    def _is_due(self) -> bool:
        if self.place.question is None:
            return False
        if self._wanted or self._mark or (self.place.reading is None and not self.place.error):
            return True
        return self._repeats and self._clock() >= self._started + self._pace.period

    async def _read_once(self) -> None:
        shown = self.place
        mark, wanted = self._mark, self._wanted
        self._mark = self._wanted = False
        if mark:
            shown = self._tabs[self._chosen]
        question: Question = {**(shown.question or {}), **({"mark": True} if mark else {})}
        suspended = self._suspended
        self._started = self._clock()
        if wanted:
            self._reading = True
            self.draw_lines()
        reading = await self._source.ask(question)
        self._reading = False
        drawn, self._drawn_cpu = self._drawn_cpu, time.process_time()
        if suspended == self._suspended and not mark:
            cost = reading.cost + self._drawn_cpu - drawn
            wall = self._clock() - self._started
            self._pace.note(cost, wall, first=not shown.readings)
        self._take(shown, reading)

    def _take(self, shown: ScreenPlace, reading: ScreenReading) -> None:
        shown.note(reading)
        if not reading.error:
            self._about, self._changing = reading.about, reading.changing
        if shown is self.place:
            self.draw()

    def _ask(self) -> None:
        """Read what is shown now."""
        self._wanted = True
        self._wake.set()

    # Drawing

    def draw(self) -> None:
        """Draw all that is shown."""
        self._unanswered = ""
        self.query_one(TabLine).draw(self._chosen)
        self.query_one(ScreenGrid).show(self.place)
        self.draw_lines()

    def draw_lines(self) -> None:
        """Write the lines around the rows."""
        reading = self.place.reading
        self._write("about", f" {self._about}", reading.time if reading is not None else "")
        self._write("status", f" {self._status()}", self._position())
        self.query_one("#keys", Static).update(Text(key_line(self.size.width), no_wrap=True))
        shown = self.place
        text, style = self._message()
        if not shown.error:
            text = cut(printable(text), self.size.width)
        self.query_one("#message", Static).update(Text(printable(text), style))

    def _write(self, name: str, left: str, right: str) -> None:
        """Write a line with a text at each end; the left one is cut."""
        width = self.size.width
        left = cut(printable(left), max(width - len(right) - 2, 0))
        line = Text(left, no_wrap=True)
        line.append(" " * (width - line.cell_len - len(right) - 1) + right)
        self.query_one(f"#{name}", Static).update(line)

    def _status(self) -> str:
        parts = []
        if self._opened:
            parts.append(" > ".join(place.title for place in self._opened))
        if self.place.question is not None:
            parts.append(self._how_often())
        reading = self.place.reading
        if reading is not None and reading.since:
            parts.append(reading.since)
        if self.place.order.text:
            parts.append(f"filter: {self.place.order.text}")
        if self._reading:
            parts.append("reading")
        return " | ".join(parts)

    def _how_often(self) -> str:
        if not self._changing:
            return f"does not change{self._unanswered}"
        return "paused" if self._suspended or self._paused else self._pace.describe()

    def _position(self) -> str:
        shown, room = self.place, self.query_one(ScreenGrid).room
        fits = bool(shown.lines) and shown.length <= room
        if shown.reading is None or not shown.length or fits:
            return ""
        last = min(shown.top + room, shown.length)
        return f"{shown.top + 1:,}-{last:,} of {shown.length:,}"

    def _message(self) -> tuple[str, Style]:
        """Return the line at the bottom: an error, or what is cut off in the row of the cursor."""
        shown = self.place
        if shown.error:
            return f" {shown.error}", Style(color="red", bold=True)
        if shown.reading is None:
            return " Reading for the first time…", Style()
        if shown.reading.columns and not shown.rows:
            return " No rows.", Style()
        if shown.reading.note:
            return f" {shown.reading.note}", Style()
        return self._cut_text(), Style()

    def _cut_text(self) -> str:
        shown, columns = self.place, self.query_one(ScreenGrid).columns
        if shown.cursor >= len(shown.rows):
            return ""
        row = shown.rows[shown.cursor]
        texts = (placed.column.texts[row] for placed in columns)
        full = [t for t, placed in zip(texts, columns, strict=True) if len(t) > placed.width]
        return f" {full[0]}" if full else ""

    # Keys

    def action_tab(self, index: int) -> None:
        """Show a tab."""
        self._opened.clear()
        self._chosen = index
        self._wake.set()
        self.draw()

    def action_next_tab(self, step: int) -> None:
        """Show the tab beside this one."""
        self.action_tab((self._chosen + step) % len(TABS))

    def _does_nothing(self, key: str) -> bool:
        """Return whether a key is for memory that changes, and this does not; then say so."""
        shown = self.place
        if self._changing or shown.reading is None or shown.error or shown.question is None:
            return False
        self._unanswered = f": {UNCHANGING[key]}"
        self.draw_lines()
        return True

    def action_read(self) -> None:
        """Read what is shown."""
        if not self._does_nothing("r"):
            self._ask()

    def action_mark(self) -> None:
        """Count changes from the last reading on."""
        if self._does_nothing("m"):
            return
        self._mark = True
        self._wake.set()

    def action_pause(self) -> None:
        """Stop reading at the interval, or go on."""
        if self._does_nothing("p"):
            return
        self._paused = not self._paused
        self._wake.set()
        self.draw_lines()

    def action_interval(self, factor: float) -> None:
        """Read less often or more often."""
        if self._does_nothing("+-"):
            return
        self._pace.interval = max(min(self._pace.interval * factor, _MOST_S), _LEAST_S)
        self._wake.set()
        self.draw_lines()

    def _headings(self) -> list[str]:
        return [placed.column.name for placed in self.query_one(ScreenGrid).columns]

    def action_sort(self, step: int) -> None:
        """Sort by the next column."""
        headings = self._headings()
        if not headings:
            return
        by = self.place.order.by
        at = headings.index(by) + step if by in headings else 0
        self._sort(headings[at % len(headings)])

    def action_reverse(self) -> None:
        """Sort the other way round."""
        order = self.place.order
        self._order(by=order.by or self._first_number(), descending=not order.descending)

    def _first_number(self) -> str:
        columns = self.query_one(ScreenGrid).columns
        numbers = (placed.column.name for placed in columns if placed.column.is_number)
        return next(numbers, "")

    def _sort(self, heading: str) -> None:
        reading = self.place.reading
        if reading is not None:
            self._order(by=heading, descending=reading.column(heading).is_number)

    def _order(self, **changes: object) -> None:
        shown = self.place
        at = shown.identity() if shown.cursor else None
        shown.order = replace(shown.order, **changes)  # type: ignore[arg-type]
        shown.arrange(at)
        self.draw()

    @on(ScreenGrid.Sorted)
    def _heading_clicked(self, event: ScreenGrid.Sorted) -> None:
        if self.place.order.by == event.heading:
            self.action_reverse()
        else:
            self._sort(event.heading)

    @on(TabLine.Chosen)
    def _tab_clicked(self, event: TabLine.Chosen) -> None:
        self.action_tab(event.index)

    @on(ScreenGrid.Moved)
    def _moved(self, _event: ScreenGrid.Moved) -> None:
        self.draw_lines()

    @on(ScreenGrid.Opened)
    def _open(self, _event: ScreenGrid.Opened) -> None:
        opened = self.place.opened()
        if opened is not None:
            self._opened.append(opened)
            self._wake.set()
            self.draw()

    def action_help(self) -> None:
        """Show the keys."""
        if self.place.title != "help":
            self._opened.append(ScreenPlace("help", None, reading=ScreenReading(lines=HELP)))
            self.draw()

    def action_other_page(self, step: int) -> None:
        """Show the page after this one, or before it."""
        question = self.place.question
        if question is None or question["what"] != "page":
            return
        pfn = int(question["pfn"], 16) + step
        if pfn >= 0:
            title = f"page {pfn:#x}"
            self._opened[-1] = ScreenPlace(title, {**question, "pfn": hex(pfn), "title": title})
            self._wake.set()
            self.draw()

    def action_leave(self) -> None:
        """Go back to what this was opened from, or show all rows again."""
        if self._edits:
            self._edit(editing=False)
            self._order(text="")
        elif self._opened:
            self._opened.pop()
            self._wake.set()
            self.draw()
        else:
            self._order(text="")

    # The filter

    @property
    def _edits(self) -> bool:
        return isinstance(self.focused, Input)

    def action_filter(self) -> None:
        """Ask for the text that rows must have."""
        if self._edits:
            raise SkipAction
        if self.place.reading is not None and self.place.reading.columns:
            self._edit(editing=True)

    def _edit(self, *, editing: bool) -> None:
        box = self.query_one(Input)
        box.display = editing
        self.query_one("#message").display = not editing
        if editing:
            box.value = self.place.order.text
        self.screen.set_focus(box if editing else self.query_one(ScreenGrid))

    @on(Input.Changed)
    def _filter_changed(self, event: Input.Changed) -> None:
        if self._edits:
            self._order(text=event.value)

    @on(Input.Submitted)
    def _filter_kept(self, event: Input.Submitted) -> None:
        if self._edits:
            self._order(text=event.value)
            self._edit(editing=False)

    # The terminal

    def action_suspend_process(self) -> None:
        """Stop this process, and those that read, until the shell continues it."""
        self._suspended += 1
        self._source.stop()
        super().action_suspend_process()

    def _resumed(self, _app: object) -> None:
        self._suspended = 0
        self._source.go_on()
        self._ask()
        self.draw()
        # The shell has written over all of it.
        self.screen.refresh(layout=True)

    def _check_terminal(self) -> None:
        """End as by SIGHUP when the terminal is gone, also if that signal was not sent.

        What textual does at its end would wait for the terminal.
        """
        if self.is_headless or sys.__stdin__ is None:
            return
        poll = select.poll()
        poll.register(sys.__stdin__, 0)
        if any(happened & (select.POLLHUP | select.POLLERR) for _, happened in poll.poll(0)):
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGHUP)
