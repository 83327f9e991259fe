# SPDX-License-Identifier: GPL-2.0-only
"""JSON Lines: one object per row, with every column, and `table` if there are several tables."""

import json
from collections.abc import Callable, Iterable
from typing import TextIO

from ...model.table import Row, Table, record_of
from ...report import Report
from ..format import RowFormat


class _JsonLines(RowFormat):
    tables_alone = True
    continues = True

    def write(self, report: Report, stream: TextIO) -> None:
        tables = report.tables()
        for table in tables:
            shown = table.named() if len(tables) > 1 else table
            self.begin(shown, stream)(shown.rows)

    def begin(self, table: Table, stream: TextIO) -> Callable[[Iterable[Row]], None]:
        record, encode = record_of(table.columns), json.JSONEncoder().encode
        return lambda rows: stream.writelines(encode(record(row)) + "\n" for row in rows)


FORMAT = _JsonLines()
