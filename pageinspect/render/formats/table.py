# SPDX-License-Identifier: GPL-2.0-only
"""Tables for people: aligned columns, within the width of the terminal but at least 80."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain
from typing import TextIO, cast

from ...model.table import Cell, Column, Row, Table
from ...report import Report, View
from ...units import printable, wrapped
from ..format import RowFormat

_GAP = 2
"""The number of spaces between columns."""
_HEADER = 2
"""tabulate makes a column at least this much wider than its name."""
_NARROWEST = 80
_LEAST = 8
"""The smallest width of a column of text."""

_Rows = list[list[str]]


def _terminal() -> int:
    return max(shutil.get_terminal_size().columns, _NARROWEST)


def _shown(column: Column) -> Callable[[Cell], str]:
    text = column.for_people()
    return lambda cell: printable(text(cell))


def _prose(lines: Sequence[str], stream: TextIO) -> None:
    """Write lines; long ones are wrapped unless they are indented, as commands to copy are."""
    width = shutil.get_terminal_size().columns
    for line in map(printable, lines):
        parts = [line] if line.startswith(" ") else wrapped(line, width)
        stream.write("\n".join(parts) + "\n")


def _width(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _shown_columns(
    columns: Sequence[Column], widths: Sequence[int], empty: Sequence[int] = ()
) -> list[int]:
    """Return the indices of the columns to show.

    If lines are too long, empty columns are dropped first, then those with `spare` set.
    """
    chosen = [i for i, c in enumerate(columns) if not (c.machines or c.below)]
    spare = sorted((i for i in chosen if columns[i].spare), key=lambda i: -columns[i].spare)
    for i in dict.fromkeys([*(i for i in empty if i in chosen), *spare]):
        if _width([widths[k] for k in chosen]) <= _terminal():
            break
        chosen.remove(i)
    return chosen


def _left_out(columns: Sequence[Column], shown: Sequence[int], empty: Sequence[int] = ()) -> str:
    """Return a paragraph that names the columns that were dropped, without those that are empty."""
    names = [
        printable(column.name)
        for i, column in enumerate(columns)
        if not (i in shown or i in empty or column.machines or column.below)
    ]
    if not names:
        return ""
    text = f"Left out for the width: {', '.join(names)} (--format csv or json has all)"
    return "\n" + "".join(f"{line}\n" for line in wrapped(text, _terminal()))


def _wrapped(columns: Sequence[Column], cells: _Rows, widths: list[int]) -> _Rows:
    """Return the cells; if the table is too wide, the widest texts are wrapped.

    Columns with `spare` set are wrapped first. Words are broken only if that is not enough.
    """
    texts = [i for i, column in enumerate(columns) if not column.is_number]
    between = _narrowest(columns, cells, widths)
    spare = _spare_narrowest(columns, cells, widths)
    within = [max(len(column.name) + _HEADER, _LEAST) for column in columns]
    enough = [
        max(least, min(column.least, width))
        for least, column, width in zip(within, columns, widths, strict=True)
    ]
    for least in (spare, between, enough, within):
        while _width(widths) > _terminal():
            wide = [i for i in texts if widths[i] > least[i]]
            if not wide:
                break
            widths[max(wide, key=lambda i: widths[i] - len(columns[i].name))] -= 1
    return [
        ["\n".join(wrapped(c, widths[i])) if len(c) > widths[i] else c for i, c in enumerate(row)]
        for row in cells
    ]


def _narrowest(columns: Sequence[Column], cells: _Rows, widths: Sequence[int]) -> list[int]:
    """Return the smallest widths of the columns if text is wrapped between words."""
    return [
        width
        if column.is_number
        else max(
            [len(column.name) + _HEADER, *(len(word) for row in cells for word in row[i].split())]
        )
        for i, (column, width) in enumerate(zip(columns, widths, strict=True))
    ]


def _spare_narrowest(columns: Sequence[Column], cells: _Rows, widths: Sequence[int]) -> list[int]:
    """Return the same if only columns with `spare` set are wrapped."""
    narrowest = zip(columns, widths, _narrowest(columns, cells, widths), strict=True)
    return [narrow if column.spare else width for column, width, narrow in narrowest]


def _if_wrapped(columns: Sequence[Column], cells: _Rows, widths: Sequence[int]) -> list[int]:
    """Return the same if those with `least` set are wrapped, too: to that width, if need be."""
    narrowest = zip(columns, _spare_narrowest(columns, cells, widths), strict=True)
    return [
        min(width, max(column.least, len(column.name) + _HEADER)) if column.least else width
        for column, width in narrowest
    ]


def _laid_out(view: View) -> str:
    """Return the rows as a table with columns as wide as their widest cell."""
    # Imported here: with importlib.metadata it takes a tenth of the time of a short command.
    from tabulate import tabulate

    every_column = view.table.columns
    texts = [_shown(column) for column in every_column]
    every = [[text(cell) for text, cell in zip(texts, row, strict=True)] for row in view.all_rows()]
    if not every:
        return ""
    widths = [
        max(len(column.name) + _HEADER, *(len(row[i]) for row in every))
        for i, column in enumerate(every_column)
    ]
    empty = [i for i in range(len(widths)) if not any(row[i] for row in every)]
    chosen = _shown_columns(every_column, _if_wrapped(every_column, every, widths), empty)
    columns = [every_column[i] for i in chosen]
    cells = [[row[i] for i in chosen] for row in every]
    text = tabulate(
        _wrapped(columns, cells, [widths[i] for i in chosen]),
        headers=[column.name for column in columns],
        tablefmt="simple",
        colalign=["right" if column.is_number else "left" for column in columns],
        disable_numparse=True,
    )
    lines = "".join(line.rstrip() + "\n" for line in text.splitlines())
    return lines + _left_out(every_column, chosen, empty)


def _line(columns: Sequence[Column], cells: Iterable[str]) -> str:
    justified = (
        cell.rjust(c.width or 0) if c.is_number else cell.ljust(c.width or 0)
        for c, cell in zip(columns, cells, strict=True)
    )
    return (_GAP * " ").join(justified).rstrip() + "\n"


def _cut(column: Column, text: str) -> str:
    if column.is_number or not column.width or len(text) <= column.width:
        return text
    return text[: column.width - 1] + "…"


def _streams(table: Table) -> bool:
    return all(
        column.width is not None
        for column in table.columns
        if not (column.machines or column.below)
    )


def _of_fixed_width(columns: Sequence[Column]) -> list[int]:
    """Return the indices of the columns to show, if rows are streamed."""
    return _shown_columns(columns, [max(c.width or 0, len(c.name)) for c in columns])


class _Table(RowFormat):
    gap = "\n"

    def write(self, report: Report, stream: TextIO) -> None:
        view = report.view()
        _prose(view.before, stream)
        if _streams(view.table):
            rows = iter(view.all_rows())
            # A table without rows has no header.
            if (first := next(rows, None)) is not None:
                self.begin(view.table, stream)(chain((first,), rows))
                stream.write(_left_out(view.table.columns, _of_fixed_width(view.table.columns)))
        else:
            stream.write(_laid_out(view))
        for title, further in view.further():
            _prose(("", title, ""), stream)
            stream.write(_laid_out(further))
        _prose(view.lines_after(), stream)

    def begin(self, table: Table, stream: TextIO) -> Callable[[Iterable[Row]], None]:
        """Write the header; return the function that writes rows, in columns of fixed width."""
        wide = [replace(c, width=c.width and max(c.width, len(c.name))) for c in table.columns]
        below = [i for i, column in enumerate(wide) if column.below]
        chosen = _of_fixed_width(table.columns)
        columns = [wide[i] for i in chosen]
        texts = [(i, column, _shown(column)) for i, column in zip(chosen, columns, strict=True)]
        stream.write(_line(columns, (column.name for column in columns)))
        stream.write(_line(columns, ("-" * (c.width or len(c.name)) for c in columns)))

        def write(rows: Iterable[Row]) -> None:
            for row in rows:
                stream.write(_line(columns, (_cut(c, text(row[i])) for i, c, text in texts)))
                for i in below:
                    lines = cast("Sequence[str]", row[i])
                    stream.writelines(f"    {printable(line)}\n" for line in lines)

        return write


FORMAT = _Table()
