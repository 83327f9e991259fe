# SPDX-License-Identifier: GPL-2.0-only
"""csv: one table of plain values; several tables are joined, with a first column `table`."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TextIO

from ...model.table import Absent, Cell, Column, Row, Table, joined
from ...report import Report
from ...units import printable
from ..format import RowFormat


def _json(cell: Any) -> str:
    return printable(cell) if isinstance(cell, str) else json.dumps(cell)


def _text(column: Column) -> Callable[[Any], Cell]:
    """Return the function that turns a value of the column into its csv form."""
    if column.is_number:
        return lambda cell: cell
    if column.dtype in ("bool", "json"):
        return _json
    joined = column.in_one_cell()
    return printable if joined is None else lambda cell: printable(joined(cell))


def _plain(column: Column) -> Callable[[Any], Cell]:
    """Return the same for cells, which may be absent: these are empty in csv."""
    text = _text(column)
    if not column.absent:
        return text
    return lambda cell: None if cell.__class__ is Absent else text(cell)


class _Csv(RowFormat):
    tables_alone = True
    continues = True
    one_table = True

    def write(self, report: Report, stream: TextIO) -> None:
        tables = report.tables()
        table = tables[0] if len(tables) == 1 else joined(tables)
        self.begin(table, stream)(table.rows)

    def begin(self, table: Table, stream: TextIO) -> Callable[[Iterable[Row]], None]:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(column.key for column in table.columns)
        plain = [
            (i, _plain(column))
            for i, column in enumerate(table.columns)
            if column.absent or not column.is_number
        ]

        def cells(rows: Iterable[Row]) -> Iterator[list[Cell]]:
            for row in rows:
                found = list(row)
                for i, text in plain:
                    found[i] = text(found[i])
                yield found

        return lambda rows: writer.writerows(cells(rows))


FORMAT = _Csv()
