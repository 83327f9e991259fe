# SPDX-License-Identifier: GPL-2.0-only
"""A report that is made again and again: the same tables, with the change since the last time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..model.table import Absent, Cell, Column, Row, Table, Unit
from ..units import signed, signed_size
from .base import Report, View
from .metrics import Metrics

_NONE = Absent.NOT_APPLICABLE
_MEASURED = ("rows", "largest")
"""The tables whose rows have a change."""
_TIME = Column("time", machines=True, document=None)

_Key = tuple[Any, ...]
_Amounts = dict[_Key, int | None]
"""The amount of each row by its key; None for rows whose key is not unique."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a change is of."""

    keys: tuple[str, ...]
    """The columns that name a row."""
    measure: str
    """The column of which the change is shown, after it."""
    unit: Unit

    def column(self) -> Column:
        """Return the column of changes."""
        show = signed if self.unit == "pages" else signed_size
        return Column("change", "int64", self.unit, absent=(_NONE,), show=show)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of one table, which are below the row `parent` or in the table itself."""

    columns: tuple[Column, ...]
    rows: Sequence[Row]
    parent: _Key

    def keys(self, measured: Measured) -> list[_Key]:
        """Return the key of each row."""
        places = [i for i, column in enumerate(self.columns) if column.key in measured.keys]
        return [
            (*self.parent, *((self.columns[i].key, row[i]) for i in places if row[i] is not _NONE))
            for row in self.rows
        ]

    def amounts(self, measured: Measured) -> list[Cell]:
        """Return the measured cell of each row; none if there is no such column."""
        place = self.place(measured)
        return [] if place is None else [row[place] for row in self.rows]

    def place(self, measured: Measured) -> int | None:
        """Return the index of the measured column."""
        keys = [column.key for column in self.columns]
        has = self.parent[0] in _MEASURED and measured.measure in keys
        return keys.index(measured.measure) if has else None


def _parts(table: Table, splits: Mapping[int, Sequence[Row]], total: Row | None) -> list[_Rows]:
    """Return the rows of a table, those of each split, and the total."""
    rows = [*table.rows]
    whole = _Rows(table.columns, rows, (table.name,))
    found = [whole]
    for i, below in splits.items():
        parent = (table.name, "split", *(cell for cell in rows[i] if isinstance(cell, str)))
        found.append(_Rows(table.columns, below, parent))
    found.append(_Rows(table.columns, [] if total is None else [total], (table.name, "total")))
    return found


def _parts_of_view(view: View) -> list[_Rows]:
    further = (part for _, table in view.more for part in _parts(table, {}, None))
    return [*_parts(view.table, view.splits, view.total), *further]


def _amounts(parts: Iterable[_Rows], measured: Measured) -> _Amounts:
    found: _Amounts = {}
    for part in parts:
        for key, amount in zip(part.keys(measured), part.amounts(measured), strict=False):
            unique = key not in found and isinstance(amount, int)
            found[key] = amount if unique and isinstance(amount, int) else None
    return found


@dataclass(frozen=True, slots=True)
class ReportSince(Report):
    """One of several readings, with the change of each row since the one before it."""

    time: str
    """UTC, as 20261127T201500Z."""
    shown: Report
    whole: Report
    """The same with all rows, where `shown` has the first ones."""
    last: Report | None
    """The reading before, with all rows; None for the first."""
    measured: Measured

    def document(self) -> dict[str, Any]:
        """Return the JSON document, with the time after `schema`."""
        changes = self._changes(*map(_of_document, self._both()))
        found: dict[str, Any] = {}
        for key, value in self.shown.document().items():
            found[key] = self._added(value, changes) if isinstance(value, Table) else value
            if key == "schema":
                found["time"] = self.time
        return found

    def tables(self) -> tuple[Table, ...]:
        """Return the tables, with the time in each row."""
        changes = self._changes(*map(_of_tables, self._both()))
        return tuple(self._timed(self._added(table, changes)) for table in self.shown.tables())

    def metrics(self) -> tuple[Metrics, ...]:
        """Return the metrics of this reading."""
        return self.shown.metrics()

    def view(self) -> View:
        """Return the text for people, with the time."""
        both = (_parts_of_view(report.view()) for report in self._both())
        changes = self._changes(*both)
        view = self.shown.view()
        table, *below = self._with_change(_parts(view.table, view.splits, view.total), changes)
        *splits, total = (part.rows for part in below)
        return replace(
            view,
            table=Table(view.table.name, table.columns, table.rows),
            splits=dict(zip(view.splits, splits, strict=True)),
            total=None if view.total is None else total[0],
            before=(*view.before[:1], f"At {self.time}", *view.before[1:]),
            more=tuple((title, self._added(each, changes)) for title, each in view.more),
        )

    def _both(self) -> tuple[Report, ...]:
        return (self.whole,) if self.last is None else (self.whole, self.last)

    def _changes(
        self, now: Iterable[_Rows], before: Iterable[_Rows] | None = None
    ) -> dict[_Key, Cell]:
        if before is None:
            return {}
        amounts, old = _amounts(now, self.measured), _amounts(before, self.measured)
        pairs = ((key, amount, old.get(key, 0)) for key, amount in amounts.items())
        return {key: n - m for key, n, m in pairs if n is not None and m is not None}

    def _added(self, table: Table, changes: Mapping[_Key, Cell]) -> Table:
        part, *_ = self._with_change(_parts(table, {}, None), changes)
        return Table(table.name, part.columns, part.rows)

    def _with_change(self, parts: Iterable[_Rows], changes: Mapping[_Key, Cell]) -> Iterable[_Rows]:
        """Yield the rows with the column of changes, where there is the measured column."""
        for part in parts:
            place = part.place(self.measured)
            if place is None:
                yield part
                continue
            at = place + 1
            keys = part.keys(self.measured)
            rows = [
                (*row[:at], changes.get(key, _NONE), *row[at:])
                for key, row in zip(keys, part.rows, strict=True)
            ]
            columns = (*part.columns[:at], self.measured.column(), *part.columns[at:])
            yield _Rows(columns, rows, part.parent)

    def _timed(self, table: Table) -> Table:
        return Table(table.name, (_TIME, *table.columns), [(self.time, *row) for row in table.rows])


def _of_document(report: Report) -> list[_Rows]:
    tables = (value for value in report.document().values() if isinstance(value, Table))
    return [part for table in tables for part in _parts(table, {}, None)]


def _of_tables(report: Report) -> list[_Rows]:
    return [part for table in report.tables() for part in _parts(table, {}, None)]
