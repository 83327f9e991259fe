# SPDX-License-Identifier: GPL-2.0-only
"""The rows of a report as columns, for pyarrow and pandas."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..model.table import Absent, Cell, Column, Dtype, Table, joined
from .base import Report

if TYPE_CHECKING:
    from collections.abc import Iterable

_KINDS: dict[Dtype, Dtype] = {"map[string,int64]": "string", "json": "string"}
"""Dtypes that data frames lack; their values become text, as in csv."""


@dataclass(frozen=True, slots=True)
class FrameColumn:
    """One column of a report: each value has the type `dtype` or is None."""

    key: str
    dtype: Dtype
    values: tuple[Cell, ...]


def frame_columns(report: Report) -> list[FrameColumn]:
    """Return the columns of the csv form; several tables are joined as there."""
    table = frame_table(report)
    rows = list(table.rows)
    columns: Iterable[tuple[Cell, ...]] = zip(*rows, strict=True) if rows else ()
    values = list(columns) or [()] * len(table.columns)
    return [
        FrameColumn(column.key, frame_dtype(column), frame_values(column, found))
        for column, found in zip(table.columns, values, strict=True)
    ]


def frame_table(report: Report) -> Table:
    """Return the only table of a report, or all of them joined as in csv."""
    tables = report.tables()
    return tables[0] if len(tables) == 1 else joined(tables)


def frame_dtype(column: Column) -> Dtype:
    """Return the dtype that a column has in a data frame."""
    return _KINDS.get(column.dtype, column.dtype)


def frame_values(column: Column, cells: "Iterable[Cell]") -> tuple[Cell, ...]:
    """Return cells of a column as values of its frame_dtype(), or None."""
    plain = (None if isinstance(cell, Absent) or cell is None else cell for cell in cells)
    if frame_dtype(column) == column.dtype:
        return tuple(plain)
    text = column.in_one_cell() or str
    return tuple(None if value is None else text(value) for value in plain)
