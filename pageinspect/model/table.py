# SPDX-License-Identifier: GPL-2.0-only
"""Typed tables: the description of rows from which all output formats are made."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import chain
from typing import Any, Literal

from ..units import number, percent, seconds, size


class Absent(Enum):
    """Why a cell has no value. JSON has null, csv an empty field."""

    UNREADABLE = "unreadable"
    """Its memory could not be read."""
    NOT_APPLICABLE = "not applicable"
    """The object of the row has no such property."""
    UNAVAILABLE = "unavailable"
    """This kernel, or its types, do not provide it."""


Dtype = Literal[
    "int64",
    "uint64",
    "float64",
    "bool",
    "string",
    "list[string]",
    "map[string,int64]",
    "json",
]
Unit = Literal["", "pages", "bytes", "pfn", "order", "percent", "ns", "count"]

Cell = str | int | float | Sequence[Any] | Mapping[str, Any] | Absent | None
"""A value of the column's dtype, or Absent. None is a value only of dtype json."""
Row = Sequence[Cell]

_SHOWN: dict[Unit, Callable[[Any], str]] = {
    "pages": number,
    "bytes": size,
    "pfn": hex,
    "percent": percent,
    "ns": seconds,
    "count": number,
}


def _yes_or_no(cell: Any) -> str:
    return "yes" if cell else "no"


_AMBIGUOUS = re.compile(r"""[\s:"]""")


def _pairs(cell: Any) -> str:
    return " ".join(f"{_quoted(name)}:{value}" for name, value in cell.items())


def _quoted(name: str) -> str:
    """Return the name; as in json if a reader could not see where it ends."""
    return json.dumps(name, ensure_ascii=False) if _AMBIGUOUS.search(name) or not name else name


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its type, and how it is shown."""

    name: str
    """The heading for people."""
    dtype: Dtype = "string"
    unit: Unit = ""
    key: str = ""
    """The name in machine-readable formats; defaults to `name`."""
    absent: tuple[Absent, ...] = ()
    """The kinds of absence that cells may have."""
    separator: str = "|"
    """Joins the values of a list in text formats."""
    document: str | None = ""
    """The name in rows of a JSON document, if not `key`. "name[]" appends the value to the list
    `name`; None leaves the column out."""
    optional: bool = False
    """Rows of a JSON document omit absent cells instead of having null."""
    show: Callable[[Any], str] | None = None
    """Formats a value for people; the default is by unit and dtype."""
    blank: str = ""
    """The text of absent cells for people."""
    width: int | None = None
    """Width in characters of streamed rows: longer text is cut, numbers are not. 0 is unlimited."""
    machines: bool = False
    """Only in machine-readable formats."""
    below: bool = False
    """For people, values are shown as lines below the row."""
    spare: int = 0
    """If not 0, the column is dropped for people when lines are too long, highest value first."""
    least: int = 0
    """If not 0, texts are wrapped to this width before columns with `spare` are dropped."""

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", self.name)

    @property
    def is_number(self) -> bool:
        """Whether values are numbers, which are aligned to the right."""
        return self.dtype in ("int64", "uint64", "float64")

    def for_people(self) -> Callable[[Cell], str]:
        """Return a function that formats a cell for people, without escaping control characters."""
        show, blank = self.show or self.in_one_cell() or _SHOWN.get(self.unit, str), self.blank
        if not self.absent:
            return show
        return lambda cell: blank if cell.__class__ is Absent else show(cell)

    def in_one_cell(self) -> Callable[[Any], str] | None:
        """Return a function that makes text of a list, map or bool; None for other dtypes."""
        if self.dtype == "list[string]":
            return self.separator.join
        return {"map[string,int64]": _pairs, "bool": _yes_or_no}.get(self.dtype)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells with typed columns. Rows may be an iterator, which can be read only once."""

    name: str
    """The name of its array in a JSON document."""
    columns: tuple[Column, ...]
    rows: Iterable[Row]

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield the rows as objects of a JSON document."""
        return map(_to_object(self.columns, in_document=True), self.rows)

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the rows as flat objects: every column under its key."""
        return map(_to_object(self.columns, in_document=False), self.rows)

    def only(self, *keys: str) -> "Table":
        """Return a table with only these columns, in this order."""
        places = {column.key: i for i, column in enumerate(self.columns)}
        chosen = [places[key] for key in keys]
        return Table(
            self.name,
            tuple(self.columns[i] for i in chosen),
            ([row[i] for i in chosen] for row in self.rows),
        )

    def named(self) -> "Table":
        """Return the table with its name in an additional first column."""
        rows = ((self.name, *row) for row in self.rows)
        return replace(self, columns=(Column("table"), *self.columns), rows=rows)


def record_of(columns: Sequence[Column]) -> Callable[[Row], dict[str, Any]]:
    """Return a function that makes a flat object of a row."""
    return _to_object(columns, in_document=False)


def _to_object(columns: Sequence[Column], *, in_document: bool) -> Callable[[Row], dict[str, Any]]:
    """Return a function that makes a JSON object of a row."""
    plain: list[tuple[int, str]] = []
    lists: dict[str, list[int]] = {}
    for i, column in enumerate(columns):
        name = column.document if in_document else column.key
        if name is None:
            continue
        if name.endswith("[]"):
            lists.setdefault(name.removesuffix("[]"), []).append(i)
        else:
            plain.append((i, name or column.key))
    names = [name for _, name in plain]
    unlike_json = [
        (name, columns[i].optional and in_document)
        for i, name in plain
        if columns[i].absent or columns[i].dtype == "list[string]"
    ]
    pick = None if len(plain) == len(columns) else _picker([i for i, _ in plain])

    def to_object(row: Row) -> dict[str, Any]:
        found: dict[str, Any] = {
            name: [None if row[i].__class__ is Absent else row[i] for i in places]
            for name, places in lists.items()
        }
        found.update(zip(names, row if pick is None else pick(row), strict=True))
        for name, optional in unlike_json:
            cell = found[name]
            if cell.__class__ is Absent:
                found[name] = None
                if optional:
                    del found[name]
            elif cell.__class__ is tuple:
                found[name] = list(cell)
        return found

    return to_object


def _picker(places: Sequence[int]) -> Callable[[Row], Row]:
    return lambda row: [row[i] for i in places]


def joined(tables: Sequence[Table]) -> Table:
    """Return one table with the rows of all, with the name of the table in the first column.

    It has the columns of all tables, by key. Cells of columns that a table lacks are
    NOT_APPLICABLE.
    """
    columns = {column.key: column for table in tables for column in table.columns}
    every = tuple(replace(c, absent=(*c.absent, Absent.NOT_APPLICABLE)) for c in columns.values())

    def rows(table: Table) -> Iterator[Row]:
        places = {column.key: i for i, column in enumerate(table.columns)}
        order = [places.get(key) for key in columns]
        for row in table.rows:
            yield (table.name, *(Absent.NOT_APPLICABLE if i is None else row[i] for i in order))

    return Table("", (Column("table"), *every), chain.from_iterable(map(rows, tables)))
