"""The output formats: a table for people, json and csv for machines."""

import csv
import json
import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
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


def _table(report: Report, stream: TextIO) -> None:
    table = report.to_table()
    _prose(table.before, stream)
    if table.rows:
        cells = [
            [_shown(c, cell) for c, cell in zip(table.columns, row, strict=True)]
            for row in _rows_for_people(table)
        ]
        text = tabulate(
            cells,
            headers=[column.name for column in table.columns],
            tablefmt="simple",
            colalign=[column.align for column in table.columns],
            disable_numparse=True,
        )
        stream.write("".join(line.rstrip() + "\n" for line in text.splitlines()))
    _prose(table.after, stream)


def _json(report: Report, stream: TextIO) -> None:
    json.dump(report.to_json(), stream)
    stream.write("\n")


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
