# SPDX-License-Identifier: GPL-2.0-only
"""The tables and texts of reports as a page has them: text that the template escapes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from ..model.table import Column, Table
from ..report import Report, View
from ..units import counted
from .names import shown_name, shown_text

MOST_ROWS = 200
"""Of a table that a report has; the page says how many there are more."""
_SHORT = 16
"""Letters of text that is not wrapped."""
_NARROW = 6
"""Columns of tables of which two stand side by side."""
STACK = "stack"
_SENTENCES = ("why", STACK)
"""Columns whose cells are not names."""
_FIT = 4
"""Columns that fit into a narrow page."""
_STARTS = ("- ", "[", "    ")
"""A line that begins so does not continue the one before."""


@dataclass(frozen=True, slots=True)
class ShownTable:
    """A table as text."""

    title: str
    head: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    more: str = ""
    """What is left out, as text; empty if all rows are there."""
    total: bool = False
    """Whether the last row is the sum of the others."""

    @property
    def widths(self) -> list[str]:
        """The class of each column: n for numbers, s for short text, t for text that may wrap."""
        return [
            "n"
            if column.is_number
            else "s"
            if all(len(row[i]) <= _SHORT for row in self.rows)
            else "t"
            for i, column in enumerate(self.head)
        ]

    @property
    def spare(self) -> list[bool]:
        """Whether each column is left out where the page is narrow."""
        counts = [column.spare > 0 and column.unit == "count" for column in self.head]
        if len(counts) - sum(counts) <= _FIT:
            return counts
        return [
            count or column.unit == "percent"
            for count, column in zip(counts, self.head, strict=True)
        ]

    @property
    def is_wide(self) -> bool:
        """Whether the table needs the width of the page."""
        return len(self.head) > _NARROW


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page that is the same for all who read it."""

    tables: tuple[ShownTable, ...] = ()
    texts: tuple[str, ...] = ()
    """Paragraphs; one that begins with a space is a command."""
    missing: str = ""
    """Why there is no such report."""
    intro: str = ""
    """A paragraph above the tables."""


def section_of(report: Report, title: str, *, texts: bool = True) -> Section:
    """Return the tables of a report as people see them, and the texts below them."""
    view = report.view()
    tables = [_shown(title, view), *(_shown(*further) for further in view.further())]
    lines = view.lines_after() if texts else ()
    return Section(tuple(t for t in tables if t.rows), tuple(paragraphs(lines)))


def table_of(title: str, table: Table) -> ShownTable:
    """Return a table as text."""
    return _shown(title, View(table))


def _shown(title: str, view: View) -> ShownTable:
    columns = [(i, c, c.for_people()) for i, c in enumerate(view.table.columns) if not c.machines]
    every = view.all_rows()
    rows = [
        tuple(_bound(column)(text(row[i])) for i, column, text in columns)
        for row in islice(every, MOST_ROWS)
    ]
    left = sum(1 for _ in every)
    # Columns in which no row has anything are for other kernels.
    used = [k for k in range(len(columns)) if not rows or any(row[k] for row in rows)]
    return ShownTable(
        shown_text(title.rstrip(":")),
        tuple(replace(columns[k][1], name=shown_name(columns[k][1].name)) for k in used),
        tuple(tuple(row[k] for k in used) for row in rows),
        f"{counted(left, 'more row')}" if left else "",
        view.total is not None and not left,
    )


def _bound(column: Column) -> Callable[[str], str]:
    return shown_text if column.key in _SENTENCES else shown_name


def paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """Yield paragraphs of lines that were wrapped for a terminal."""
    found: list[str] = []
    for line in map(shown_text, lines):
        if not line or line.startswith(_STARTS):
            yield from _joined(found)
            found = []
        if line:
            found.append(line)
        if line.startswith("    "):
            yield from _joined(found)
            found = []
    yield from _joined(found)


def _joined(lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield shown_text(" ".join(lines))
