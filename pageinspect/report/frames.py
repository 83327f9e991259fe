# SPDX-License-Identifier: GPL-2.0-only
"""The rows of a report as columns, for pyarrow and pandas."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..model.table import Absent, Cell, Column, Dtype, joined
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
    tables = report.tables()
    table = tables[0] if len(tables) == 1 else joined(tables)
    rows = list(table.rows)
    columns: Iterable[tuple[Cell, ...]] = zip(*rows, strict=True) if rows else ()
    values = list(columns) or [()] * len(table.columns)
    return [_column(column, found) for column, found in zip(table.columns, values, strict=True)]


def _column(column: Column, values: tuple[Cell, ...]) -> FrameColumn:
    dtype = _KINDS.get(column.dtype, column.dtype)
    text = column.in_one_cell() or str if dtype != column.dtype else None
    plain = (None if isinstance(value, Absent) or value is None else value for value in values)
    if text is not None:
        plain = (None if value is None else text(value) for value in plain)
    return FrameColumn(column.key, dtype, tuple(plain))
