"""The output formats: a table for people, json and csv for machines."""

import csv
import json
from collections.abc import Callable, Iterator
from typing import TextIO

from ..host.progress import paced
from ..model.table import Cell
from ..report import Report
from ..units import printable
from .table import ROWS_OF_PROGRESS, write_table


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
    for item in paced(items, ROWS_OF_PROGRESS):
        stream.write(separator + json.dumps(item))
        separator = ", "
    stream.write("[]" if separator == "[" else "]")


def _csv(report: Report, stream: TextIO) -> None:
    table = report.to_table()
    table = table.machines or table
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(column.key or column.name for column in table.columns)
    rows = paced(table.rows, ROWS_OF_PROGRESS)
    writer.writerows([_plain(cell) for cell in row] for row in rows)


def _plain(cell: Cell) -> Cell:
    """Return what csv has of a cell: truth as JSON writes it, text without control characters."""
    if isinstance(cell, bool):
        return json.dumps(cell)
    return printable(cell) if isinstance(cell, str) else cell


FORMATS: dict[str, Callable[[Report, TextIO], None]] = {
    "table": write_table,
    "json": _json,
    "csv": _csv,
}


def render(report: Report, form: str, stream: TextIO) -> None:
    """Write the report to the stream in one of FORMATS."""
    FORMATS[form](report, stream)
