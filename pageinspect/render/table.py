"""Tables for people: columns that line up, in lines of 80 columns or of the terminal's."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TextIO

from ..host.progress import paced
from ..model.table import Cell
from ..report import Column, Report, Table
from ..units import printable, wrapped

_GAP = 2
"""Spaces between columns."""
_HEADER = 2
"""By how much tabulate makes a column wider than its name, at least."""
_NARROWEST = 80
_LEAST = 8
"""Columns of text are not made narrower than this."""

ROWS_OF_PROGRESS = 4096
"""Rows that are written between two signs of progress."""

_Rows = list[list[str]]


def _terminal() -> int:
    return max(shutil.get_terminal_size().columns, _NARROWEST)


def shown(column: Column, cell: Cell) -> str:
    """Return a cell as people read it."""
    return "" if cell is None else printable(column.show(cell))


def _prose(lines: Sequence[str], stream: TextIO) -> None:
    width = shutil.get_terminal_size().columns
    stream.writelines("\n".join(wrapped(printable(line), width)) + "\n" for line in lines)


def rows_for_people(table: Table) -> Iterator[Sequence[Cell]]:
    """Yield the rows, with those that split them and the total."""
    for i, row in enumerate(table.rows):
        yield row
        yield from table.splits.get(i, ())
    if table.total is not None:
        yield table.total


def _width(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _spared(
    columns: Sequence[Column], widths: Sequence[int], empty: Sequence[int] = ()
) -> list[int]:
    """Return the indices of the columns that people get.

    Where the lines get too long, columns without a text go first, then those to spare.
    """
    chosen = [i for i, column in enumerate(columns) if not column.machines]
    spare = sorted((i for i in chosen if columns[i].spare), key=lambda i: -columns[i].spare)
    for i in dict.fromkeys([*empty, *spare]):
        if _width([widths[k] for k in chosen]) <= _terminal():
            break
        chosen.remove(i)
    return chosen


def _wrapped(columns: Sequence[Column], cells: _Rows, widths: list[int]) -> _Rows:
    """Return the cells, the widest text on several lines where the table is too wide.

    Columns to spare are wrapped first, and words broken last.
    """
    texts = [i for i, column in enumerate(columns) if column.align == "left"]
    between = _narrowest(columns, cells, widths)
    spare = _spare_narrowest(columns, cells, widths)
    within = [max(len(column.name) + _HEADER, _LEAST) for column in columns]
    for least in (spare, between, within):
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
    """Return how narrow the columns get when text goes on in the next line between words."""
    return [
        width
        if column.align == "right"
        else max(
            [len(column.name) + _HEADER, *(len(word) for row in cells for word in row[i].split())]
        )
        for i, (column, width) in enumerate(zip(columns, widths, strict=True))
    ]


def _spare_narrowest(columns: Sequence[Column], cells: _Rows, widths: Sequence[int]) -> list[int]:
    """Return the same where text that is not to spare stays on its line."""
    narrowest = zip(columns, widths, _narrowest(columns, cells, widths), strict=True)
    return [narrow if column.spare else width for column, width, narrow in narrowest]


def _laid_out(table: Table) -> str:
    """Return the rows as a table whose columns are as wide as their cells."""
    # Not at the top: with importlib.metadata it takes a tenth of a short command.
    from tabulate import tabulate

    every = [
        [shown(c, cell) for c, cell in zip(table.columns, row, strict=True)]
        for row in rows_for_people(table)
    ]
    if not every:
        return ""
    widths = [
        max(len(column.name) + _HEADER, *(len(row[i]) for row in every))
        for i, column in enumerate(table.columns)
    ]
    empty = [i for i in range(len(widths)) if not any(row[i] for row in every)]
    chosen = _spared(table.columns, _spare_narrowest(table.columns, every, widths), empty)
    columns = [table.columns[i] for i in chosen]
    cells = [[row[i] for i in chosen] for row in every]
    text = tabulate(
        _wrapped(columns, cells, [widths[i] for i in chosen]),
        headers=[column.name for column in columns],
        tablefmt="simple",
        colalign=[column.align for column in columns],
        disable_numparse=True,
    )
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


def _line(columns: Sequence[Column], cells: Iterable[str]) -> str:
    justified = (
        cell.rjust(c.width or 0) if c.align == "right" else cell.ljust(c.width or 0)
        for c, cell in zip(columns, cells, strict=True)
    )
    return (_GAP * " ").join(justified).rstrip() + "\n"


def _cut(column: Column, text: str) -> str:
    if column.align == "right" or not column.width or len(text) <= column.width:
        return text
    return text[: column.width - 1] + "…"


def _stream_rows(table: Table, stream: TextIO) -> None:
    """Write rows as they come, in columns of the widths that these have."""
    wide = [replace(c, width=c.width and max(c.width, len(c.name))) for c in table.columns]
    chosen = _spared(wide, [column.width or len(column.name) for column in wide])
    columns = [wide[i] for i in chosen]
    header = False
    for row in paced(table.rows, ROWS_OF_PROGRESS):
        if not header:
            stream.write(_line(columns, (column.name for column in columns)))
            stream.write(_line(columns, ("-" * (c.width or len(c.name)) for c in columns)))
            header = True
        cells = (_cut(c, shown(c, row[i])) for i, c in zip(chosen, columns, strict=True))
        stream.write(_line(columns, cells))


def write_table(report: Report, stream: TextIO) -> None:
    """Write the table of the report, with the lines before and after it."""
    table = report.to_table()
    _prose(table.before, stream)
    if all(column.width is not None for column in table.columns):
        _stream_rows(table, stream)
    else:
        stream.write(_laid_out(table))
    _prose(table.after() if callable(table.after) else table.after, stream)
