# SPDX-License-Identifier: GPL-2.0-only
"""A SELECT statement of the user on the tables of a dataset."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain, islice
from math import isfinite
from typing import TYPE_CHECKING, Any

from ..model.snapshot import TABLES
from ..model.table import Absent, Cell, Column, Dtype, Row, Table
from ..units import number
from .answer import FleetReport, answer
from .engine import engine
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
LONGEST = 40
"""Characters of a text in tables for people."""
_BITS = {"int64": 63, "uint64": 64}
_NONE = (Absent.NOT_APPLICABLE,)


def needs(query: str) -> tuple[str, ...]:
    """Return the tables that a query reads. Raises UsageError unless it is one SELECT on tables."""
    with closing(engine().connect(":memory:")) as connection:
        return tuple(sorted(tables_of(connection, query, TABLES)))


def report(fleet: "Fleet", query: str, most: int = 0) -> FleetReport:
    """Return the rows of one SELECT statement, at most so many if `most` is not 0.

    Raises UsageError for anything else.
    """
    fleet.tables(sorted(tables_of(fleet.connection, query, TABLES)))
    cursor = fleet.user_query(query, _HINT)
    shorten, limit = _Shorten(), _Limit(most)
    columns = tuple(_columns(cursor.description, shorten))
    rows = limit.of(_rows(fleet.batches(cursor), columns))
    first = next(rows, None)
    found: Iterable[Row] = [] if first is None else chain((first,), rows)

    def late() -> str:
        return " ".join(filter(None, (limit.remark(), shorten.remark())))

    return answer(fleet, "sql", ("", Table("rows", columns, found)), late=late)


class _Limit:
    """Ends rows after the first `most`, 0 for all, and remembers whether there were more."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._cut = False

    def of(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Yield the rows. No more are computed than those and one batch."""
        yield from islice(rows, self._most or None)
        self._cut = bool(self._most) and next(rows, None) is not None

    def remark(self) -> str:
        """Return a sentence if there were more."""
        if not self._cut:
            return ""
        return f"Only the first {number(self._most)} rows: --format csv or json has all."


class _Shorten:
    """Cuts long texts for people, and remembers whether it did."""

    def __init__(self) -> None:
        self._cut = False

    def of(self, column: Column) -> Column:
        """Return the column with texts cut."""
        show = column.in_one_cell() or str
        return replace(column, show=lambda cell: self._short(show(cell)))

    def _short(self, text: str) -> str:
        if len(text) <= LONGEST:
            return text
        self._cut = True
        return f"{text[: LONGEST - 1]}…"

    def remark(self) -> str:
        """Return a sentence if a text was cut."""
        if not self._cut:
            return ""
        return f"Texts of more than {LONGEST} characters are cut: --format csv or json has all."


def _columns(description: Any, shorten: _Shorten) -> Iterator[Column]:
    """Yield the columns; a name that occurs twice gets a number.

    If they are too wide for people, the last ones are left out first.
    """
    seen: dict[str, int] = {}
    for i, (name, kind, *_) in enumerate(description):
        seen[name] = seen.get(name, 0) + 1
        unique = name if seen[name] == 1 else f"{name}_{seen[name]}"
        dtype: Dtype = _DTYPES.get(str(kind), "string")
        if str(kind).startswith("DECIMAL"):
            dtype = "float64"
        elif dtype == "string" and str(kind).endswith(("]", ")")):
            dtype = "json"
        column = Column(unique, dtype, absent=_NONE, spare=i)
        yield column if column.is_number else shorten.of(column)


def _rows(found: Iterable[Row], columns: tuple[Column, ...]) -> Iterator[Row]:
    dtypes = [column.dtype for column in columns]
    for row in found:
        yield [_cell(value, dtype) for value, dtype in zip(row, dtypes, strict=True)]


def _cell(value: Any, dtype: Dtype) -> Cell:
    if value is None:
        return Absent.NOT_APPLICABLE
    cell: Cell = value
    if dtype == "list[string]":
        cell = tuple("" if text is None else text for text in value)
    elif dtype == "float64":
        cell = float(value) if isfinite(value) else Absent.NOT_APPLICABLE
    elif dtype in ("string", "json"):
        plain = _plain(value)
        cell = str(plain) if dtype == "string" else plain
    elif dtype in _BITS and max(value, ~value).bit_length() > _BITS[dtype]:
        raise refusal(f"{value} has more than 64 bits", "cast the column to DOUBLE or VARCHAR")
    return cell


def _plain(value: Any) -> Any:
    """Return a value of DuckDB as what JSON has."""
    found = value
    if isinstance(value, dict):
        found = {str(_plain(key)): _plain(item) for key, item in value.items()}
    elif isinstance(value, list | tuple):
        found = [_plain(item) for item in value]
    elif isinstance(value, Decimal) or (isinstance(value, float) and not isfinite(value)):
        found = float(value) if isfinite(value) else None
    elif isinstance(value, datetime | date | time):
        found = value.isoformat()
    elif isinstance(value, timedelta):
        found = value.total_seconds()
    elif isinstance(value, bytes):
        found = value.decode("utf-8", "replace")
    elif value is not None and not isinstance(value, str | int | float):
        found = str(value)
    return found
