"""The output formats: a table for people, json and csv for machines."""

import csv
import json
from collections.abc import Callable
from typing import TextIO

from tabulate import tabulate

from ..report import Column, Report
from ..report.base import Cell
from ..units import printable


def _shown(column: Column, cell: Cell) -> str:
    return "" if cell is None else printable(column.show(cell))


def _table(report: Report, stream: TextIO) -> None:
    table = report.to_table()
    stream.writelines(line + "\n" for line in table.before)
    if table.rows:
        cells = [
            [_shown(c, cell) for c, cell in zip(table.columns, row, strict=True)]
            for row in table.rows
        ]
        text = tabulate(
            cells,
            headers=[column.name for column in table.columns],
            tablefmt="simple",
            colalign=[column.align for column in table.columns],
            disable_numparse=True,
        )
        stream.write("".join(line.rstrip() + "\n" for line in text.splitlines()))
    stream.writelines(line + "\n" for line in table.after)


def _json(report: Report, stream: TextIO) -> None:
    json.dump(report.to_json(), stream)
    stream.write("\n")


def _csv(report: Report, stream: TextIO) -> None:
    table = report.to_table()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(column.name for column in table.columns)
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
