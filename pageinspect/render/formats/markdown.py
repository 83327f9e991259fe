# SPDX-License-Identifier: GPL-2.0-only
"""Markdown: the table for people as a pipe table, with the lines before and after it."""

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import TextIO

from ...model.table import Row, Table
from ...report import Report, View
from ...units import printable
from ..format import RowFormat

_MARKUP = re.compile(r"([\\`*\[\]<>|~#&]|(?<![^\W_])_|_(?![^\W_]))")
"""Matches markup characters; an underscore within a word is not markup."""


def _escaped(text: str) -> str:
    """Return the text with markup and control characters escaped."""
    return _MARKUP.sub(r"\\\1", printable(text))


class _Markdown(RowFormat):
    gap = "\n"

    def write(self, report: Report, stream: TextIO) -> None:
        view = report.view()
        _prose(view.before, stream)
        self._rows(view, stream)
        for title, further in view.further():
            _prose((title,), stream)
            self._rows(further, stream)
        _prose(view.lines_after(), stream)

    def _rows(self, view: View, stream: TextIO) -> None:
        """Write a table; one without rows has no header."""
        rows = iter(view.all_rows())
        if (first := next(rows, None)) is not None:
            self.begin(view.table, stream)(chain((first,), rows))
            stream.write("\n")

    def begin(self, table: Table, stream: TextIO) -> Callable[[Iterable[Row]], None]:
        shown = [(i, column) for i, column in enumerate(table.columns) if not column.machines]
        texts = [
            (i, column.for_people(), str if column.is_number else _escaped) for i, column in shown
        ]
        stream.write(_line([_escaped(column.name) for _, column in shown]))
        stream.write(_line(["---:" if column.is_number else ":---" for _, column in shown]))

        def write(rows: Iterable[Row]) -> None:
            stream.writelines(
                _line([escape(text(row[i])) for i, text, escape in texts]) for row in rows
            )

        return write


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _prose(lines: Iterable[str], stream: TextIO) -> None:
    """Write each line as a paragraph, and each indented line as a list item."""
    for line in filter(None, lines):
        item = "- " if line.startswith(" ") else ""
        stream.write(f"{item}{_escaped(line.strip())}\n\n")


FORMAT = _Markdown()
