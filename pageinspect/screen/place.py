# SPDX-License-Identifier: GPL-2.0-only
"""What the screen shows at one time: a tab, or what was opened from one."""

from dataclasses import dataclass, field
from textwrap import TextWrapper

from .reading import Question, ScreenReading
from .rows import Order, identity
from .tabs import Row, Tab, page_of_run


@dataclass(slots=True)
class ScreenPlace:
    """A tab, the runs of an owner, a page, or the help; with its last reading and its cursor."""

    title: str
    question: Question | None
    """None if there is nothing to read."""
    tab: Tab | None = None
    reading: ScreenReading | None = None
    """The last one that did not fail."""
    error: str = ""
    """Why the last one failed."""
    order: Order = field(default_factory=Order)
    rows: list[int] = field(default_factory=list)
    """Numbers of the rows that are shown, in order."""
    cursor: int = 0
    """An index of `rows`, or of the lines of a text."""
    top: int = 0
    """The first that is on the screen."""
    readings: int = 0

    lines: list[str] = field(default_factory=list)
    """The lines of a text, see wrap()."""

    @property
    def length(self) -> int:
        """The number of rows or lines."""
        return len(self.lines) or len(self.rows)

    def note(self, reading: ScreenReading) -> None:
        """Take a new reading; the cursor stays on its row, or at the top."""
        if reading.error:
            self.error = f"{reading.error} ({reading.hint})" if reading.hint else reading.error
            return
        self.error = ""
        at = self.identity() if self.cursor else None
        self.reading = reading
        self.readings += 1
        self.arrange(at)

    def identity(self) -> tuple[str, ...] | None:
        """Return what the row of the cursor is recognized by; None if there is none."""
        if self.reading is None or self.cursor >= len(self.rows):
            return None
        return identity(self.reading, self.rows[self.cursor])

    def arrange(self, at: tuple[str, ...] | None) -> None:
        """Choose and sort the rows again, and place the cursor on the row `at`."""
        if self.reading is None:
            return
        self.rows = self.order.rows(self.reading)
        if at is not None:
            found = (i for i, row in enumerate(self.rows) if identity(self.reading, row) == at)
            moved = next(found, self.cursor) - self.cursor
            self.cursor += moved
            self.top += moved
        self.cursor = max(min(self.cursor, self.length - 1), 0)

    def wrap(self, width: int) -> None:
        """Divide the lines of a text that are longer than the screen is wide."""
        lines = () if self.reading is None or self.reading.columns else self.reading.lines
        fill = TextWrapper(width - 1, drop_whitespace=False, break_on_hyphens=False).wrap
        self.lines = [f" {part}" for line in lines for part in fill(line) or [""]]

    def scroll(self, height: int) -> None:
        """Move the first line so that the cursor is on a screen of this height."""
        last = max(self.length - height, 0)
        self.top = max(min(self.top, self.cursor, last), self.cursor - height + 1, 0)

    def opened(self) -> "ScreenPlace | None":
        """Return what the row of the cursor opens; None if nothing."""
        if self.reading is None or not self.reading.columns or self.cursor >= len(self.rows):
            return None
        i = self.rows[self.cursor]
        row: Row = {column.name: column.texts[i] for column in self.reading.columns}
        what = page_of_run(row) if self.tab is None else self.tab.opens(row)
        return None if what is None else ScreenPlace(what["title"], what)
