# SPDX-License-Identifier: GPL-2.0-only
"""The rows of reports as Arrow data, with the columns of csv."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from ..host.extras import load_library
from ..model.table import Row, Table
from ..report import Report
from ..report.frames import frame_dtype, frame_table, frame_values

_ROWS = 1 << 16
"""Rows of a record batch."""


def arrow_table(report: Report) -> Any:
    """Return the rows of a report as a pyarrow.Table. Raises PageInspectError without pyarrow."""
    arrow = load_library("pyarrow", "arrow")
    table = frame_table(report)
    schema = arrow_schema(arrow, table)
    return arrow.Table.from_batches(record_batches(arrow, table, schema), schema)


def arrow_schema(arrow: Any, table: Table) -> Any:
    """Return the pyarrow.Schema of a table."""
    return arrow.schema([(c.key, _arrow_type(arrow, frame_dtype(c))) for c in table.columns])


def record_batches(arrow: Any, table: Table, schema: Any) -> Iterator[Any]:
    """Yield the rows of a table as they are read, as a pyarrow.RecordBatch for _ROWS of them."""
    for rows in _batched(table.rows):
        columns = zip(table.columns, zip(*rows, strict=True), schema.types, strict=True)
        arrays = [
            arrow.array(frame_values(column, cells), type=kind) for column, cells, kind in columns
        ]
        yield arrow.record_batch(arrays, schema=schema)


def _batched(rows: Iterable[Row]) -> Iterator[tuple[Row, ...]]:
    left = iter(rows)
    while some := tuple(islice(left, _ROWS)):
        yield some


def _arrow_type(arrow: Any, dtype: str) -> Any:
    if dtype == "list[string]":
        return arrow.list_(arrow.string())
    return arrow.type_for_alias(dtype)
