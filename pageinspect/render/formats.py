"""The output formats: a table for people, json and csv for machines."""

import csv
import json
import shutil
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TextIO

from tabulate import tabulate

from ..report import Column, Report, Table
from ..report.base import Cell
from ..units import printable


def _shown(column: Column, cell: Cell) -> str:
    return "" if cell is None else printable(column.show(cell))


def _prose(lines: Sequence[str], stream: TextIO) -> None:
    width = shutil.get_terminal_size().columns
    stream.writelines(textwrap.fill(printable(line), width) + "\n" for line in lines)


def _rows_for_people(table: Table) -> Iterator[Sequence[Cell]]:
    for i, row in enumerate(table.rows):
        yield row
        yield from table.splits.get(i, ())
    if table.total is not None:
        yield table.total


def _laid_out(table: Table) -> str:
    """Return the rows as a table whose columns are as wide as their cells."""
    cells = [
        [_shown(c, cell) for c, cell in zip(table.columns, row, strict=True)]
        for row in _rows_for_people(table)
    ]
    if not cells:
        return ""
    text = tabulate(
        cells,
        headers=[column.name for column in table.columns],
        tablefmt="simple",
        colalign=[column.align for column in table.columns],
        disable_numparse=True,
    )
    return "".join(line.rstrip() + "\n" for line in text.splitlines())


def _line(columns: Sequence[Column], cells: Iterable[str]) -> str:
    justified = (
        cell.rjust(c.width or 0) if c.align == "right" else cell.ljust(c.width or 0)
        for c, cell in zip(columns, cells, strict=True)
    )
    return "  ".join(justified).rstrip() + "\n"


def _stream_rows(table: Table, stream: TextIO) -> None:
    """Write rows as they come, in columns of the widths that these have."""
    columns = table.columns
    header = False
    for row in table.rows:
        if not header:
            stream.write(_line(columns, (column.name for column in columns)))
            stream.write(_line(columns, ("-" * (c.width or len(c.name)) for c in columns)))
            header = True
        cells = (_shown(c, cell) for c, cell in zip(columns, row, strict=True))
        stream.write(_line(columns, cells))


def _table(report: Report, stream: TextIO) -> None:
    table = report.to_table()
    _prose(table.before, stream)
    if all(column.width is not None for column in table.columns):
        _stream_rows(table, stream)
    else:
        stream.write(_laid_out(table))
    _prose(table.after() if callable(table.after) else table.after, stream)


def _json(report: Report, stream: TextIO) -> None:
    separator = "{"
    for key, value in report.to_json().items():
        stream.write(f"{separator}{json.dumps(key)}: ")
        separator = ", "
        if isinstance(value, Iterator):
            _json_array(value, stream)
        else:
            stream.write(json.dumps(value() if callable(value) else value))
    stream.write("}\n")


def _json_array(items: Iterator[object], stream: TextIO) -> None:
    separator = "["
    for item in items:
        stream.write(separator + json.dumps(item))
        separator = ", "
    stream.write("[]" if separator == "[" else "]")


def _csv(report: Report, stream: TextIO) -> None:
    table = report.to_table()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(column.key or column.name for column in table.columns)
    writer.writerows(
        [printable(cell) if isinstance(cell, str) else cell for cell in row] for row in table.rows
    )


FORMATS: dict[str, Callable[[Report, TextIO], None]] = {
    "table": _table,
    "json": _json,
    "csv": _csv,
}


def render(report: Report, form: str, stream: TextIO) -> None:
    """Write the report to the stream in one of FORMATS."""
    FORMATS[form](report, stream)
