"""The rows of a report by column, for libraries that work on columns."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ..model.table import Cell
from .base import Report

Kind = Literal["bool", "int64", "uint64", "float64", "string", "null"]

_TOP = 1 << 63


@dataclass(frozen=True, slots=True)
class FrameColumn:
    """One column of the table for machines: `kind` is the type that all values but None have."""

    key: str
    kind: Kind
    values: tuple[Cell, ...]


def frame_columns(report: Report) -> list[FrameColumn]:
    """Return the columns of the table for machines; one of several types is text, as in csv."""
    table = report.to_table()
    table = table.machines or table
    keys = [column.key or column.name for column in table.columns]
    rows = list(table.rows)
    columns = zip(*rows, strict=True) if rows else ((),) * len(keys)
    return [_column(key, tuple(values)) for key, values in zip(keys, columns, strict=True)]


def _column(key: str, values: tuple[Cell, ...]) -> FrameColumn:
    kind = _kind(values)
    if kind == "string":
        values = tuple(None if value is None else _text(value) for value in values)
    return FrameColumn(key, kind, values)


def _kind(values: Iterable[Cell]) -> Kind:
    there = [value for value in values if value is not None]
    types = set(map(type, there))
    if types == {int}:
        return "uint64" if any(value >= _TOP for value in there) else "int64"  # type: ignore[operator]
    if types and types <= {int, float}:
        return "float64"
    if types == {bool}:
        return "bool"
    return "string" if types else "null"


def _text(value: Cell) -> str:
    return value if isinstance(value, str) else json.dumps(value)
