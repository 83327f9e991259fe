# SPDX-License-Identifier: GPL-2.0-only
"""A SELECT statement of the user on the tables of a dataset."""

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any

from ..model.snapshot import TABLES
from ..model.table import Absent, Cell, Column, Dtype, Row, Table
from .answer import FleetReport, answer
from .engine import batches, user_query
from .statement import refusal, tables_of

if TYPE_CHECKING:
    from .engine import Fleet

_HINT = f"the tables are {', '.join(TABLES)}; docs/dataset.md has their columns"
_DTYPES: dict[str, Dtype] = {
    **dict.fromkeys(("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"), "int64"),
    **dict.fromkeys(("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"), "uint64"),
    **dict.fromkeys(("FLOAT", "DOUBLE"), "float64"),
    "BOOLEAN": "bool",
    "VARCHAR[]": "list[string]",
    "MAP(VARCHAR, BIGINT)": "map[string,int64]",
}
_BOUNDS = {"int64": (-(1 << 63), 1 << 63), "uint64": (0, 1 << 64)}
_NONE = (Absent.NOT_APPLICABLE,)


def report(fleet: "Fleet", query: str) -> FleetReport:
    """Return the rows of one SELECT statement. Raises UsageError for anything else."""
    fleet.tables(sorted(tables_of(fleet.connection, query, TABLES)))
    cursor = user_query(fleet.connection, query, _HINT)
    columns = tuple(_columns(cursor.description))
    return answer(fleet, "sql", ("", Table("rows", columns, _rows(cursor, columns))))


def _columns(description: Any) -> Iterator[Column]:
    """Yield the columns; a name that occurs twice gets a number."""
    seen: dict[str, int] = {}
    for name, kind, *_ in description:
        seen[name] = seen.get(name, 0) + 1
        unique = name if seen[name] == 1 else f"{name}_{seen[name]}"
        dtype: Dtype = _DTYPES.get(str(kind), "string")
        if str(kind).startswith("DECIMAL"):
            dtype = "float64"
        elif dtype == "string" and str(kind).endswith(("]", ")")):
            dtype = "json"
        yield Column(unique, dtype, absent=_NONE)


def _rows(cursor: Any, columns: tuple[Column, ...]) -> Iterator[Row]:
    dtypes = [column.dtype for column in columns]
    for row in batches(cursor):
        yield [_cell(value, dtype) for value, dtype in zip(row, dtypes, strict=True)]


def _cell(value: Any, dtype: Dtype) -> Cell:
    if value is None:
        return Absent.NOT_APPLICABLE
    if dtype == "json":
        return _plain(value)  # type: ignore[no-any-return]
    if dtype == "list[string]":
        return tuple("" if text is None else text for text in value)
    if dtype == "float64":
        return float(value) if isfinite(value) else Absent.NOT_APPLICABLE
    if dtype in _BOUNDS and not _BOUNDS[dtype][0] <= value < _BOUNDS[dtype][1]:
        raise refusal(f"{value} has more than 64 bits", "cast the column to DOUBLE or VARCHAR")
    return str(_plain(value)) if dtype == "string" else value  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    """Return a value of DuckDB as what JSON has."""
    if isinstance(value, dict):
        return {str(_plain(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
