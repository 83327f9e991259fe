# SPDX-License-Identifier: GPL-2.0-only
"""JSON: one document, with the rows of a table as an array of objects."""

import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TextIO

from ...model.table import Row, Table
from ...report import Report
from ..format import RowFormat

_AT_ONCE = 256
"""Rows that are encoded in one call, which is faster than one call per row."""


class _Json(RowFormat):
    def write(self, report: Report, stream: TextIO) -> None:
        separator = "{"
        for key, value in report.document().items():
            stream.write(f"{separator}{json.dumps(key)}: ")
            separator = ", "
            if isinstance(value, Table):
                _write_array(value.documents(), stream)
            else:
                stream.write(json.dumps(value() if callable(value) else value))
        stream.write("}\n")

    def begin(self, table: Table, stream: TextIO) -> Callable[[Iterable[Row]], None]:
        def write(rows: Iterable[Row]) -> None:
            records = Table(table.name, table.columns, rows).documents()
            stream.writelines(json.dumps(record) + "\n" for record in records)

        return write


def _write_array(items: Iterator[dict[str, Any]], stream: TextIO) -> None:
    separator = "["
    while some := list(islice(items, _AT_ONCE)):
        stream.write(separator + json.dumps(some)[1:-1])
        separator = ", "
    stream.write("[]" if separator == "[" else "]")


FORMAT = _Json()
