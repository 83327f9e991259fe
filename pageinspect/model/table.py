"""Typed tables: the one description of rows from which every output format is made."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import chain
from typing import Any, Literal

from ..units import number, percent, seconds, size


class Absent(Enum):
    """Why a cell has no value: null in JSON, empty in csv."""

    UNREADABLE = "unreadable"
    """The memory that holds it could not be read."""
    NOT_APPLICABLE = "not applicable"
    """What the row is about has no such property."""
    UNAVAILABLE = "unavailable"
    """This kernel, or what is known of its types, does not provide it."""


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
"""A value of the column's dtype, or Absent. None is a value of dtype json alone."""
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


def _pairs(cell: Any) -> str:
    return " ".join(f"{name}:{value}" for name, value in cell.items())


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its type and meaning, and how people see it."""

    name: str
    """For people."""
    dtype: Dtype = "string"
    unit: Unit = ""
    key: str = ""
    """For machines; the name where none is given."""
    absent: tuple[Absent, ...] = ()
    """The kinds of absence that its cells may have."""
    separator: str = "|"
    """Between the values of a list, where a cell is text."""
    document: str | None = ""
    """Where rows of a JSON document have the cell: under this name instead of the key; "name[]" is
    the next value of the list `name`; None is nowhere."""
    optional: bool = False
    """Rows of a JSON document leave it out where it is absent."""
    show: Callable[[Any], str] | None = None
    """Turns a value into text for people, other than by its unit and dtype."""
    blank: str = ""
    """For people, where it is absent."""
    width: int | None = None
    """In characters, for rows that stream: longer text is cut, numbers never; 0 is as wide as it
    gets."""
    machines: bool = False
    """Not for people."""
    below: bool = False
    """For people its values are lines below the row."""
    spare: int = 0
    """People do without it where lines get too long, and without the greatest `spare` first."""

    def __post_init__(self) -> None:
        if not self.key:
            object.__setattr__(self, "key", self.name)

    @property
    def is_number(self) -> bool:
        """Whether its values line up at the right."""
        return self.dtype in ("int64", "uint64", "float64")

    def for_people(self) -> Callable[[Cell], str]:
        """Return what turns a cell into text for people; control characters are not escaped."""
        show, blank = self.show or self.in_one_cell() or _SHOWN.get(self.unit, str), self.blank
        if not self.absent:
            return show
        return lambda cell: blank if cell.__class__ is Absent else show(cell)

    def in_one_cell(self) -> Callable[[Any], str] | None:
        """Return what turns a value that has parts, or is no text, into text; None for others."""
        if self.dtype == "list[string]":
            return self.separator.join
        return {"map[string,int64]": _pairs, "bool": _yes_or_no}.get(self.dtype)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of cells, under typed columns. Rows may be an iterator, and can be read once then."""

    name: str
    """Of its array in a JSON document."""
    columns: tuple[Column, ...]
    rows: Iterable[Row]

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield the rows as a JSON document has them."""
        return map(_to_object(self.columns, in_document=True), self.rows)

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield the rows as flat objects: every column under its key."""
        return map(_to_object(self.columns, in_document=False), self.rows)

    def only(self, *keys: str) -> "Table":
        """Return the columns with these keys alone, in this order."""
        places = {column.key: i for i, column in enumerate(self.columns)}
        chosen = [places[key] for key in keys]
        return Table(
            self.name,
            tuple(self.columns[i] for i in chosen),
            ([row[i] for i in chosen] for row in self.rows),
        )

    def named(self) -> "Table":
        """Return it with its name in a first column, for a place that it shares with others."""
        rows = ((self.name, *row) for row in self.rows)
        return replace(self, columns=(Column("table"), *self.columns), rows=rows)


def record_of(columns: Sequence[Column]) -> Callable[[Row], dict[str, Any]]:
    """Return what turns a row into a flat object."""
    return _to_object(columns, in_document=False)


def _to_object(columns: Sequence[Column], *, in_document: bool) -> Callable[[Row], dict[str, Any]]:
    """Return what turns a row into an object for JSON."""
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
        found: dict[str, Any] = {name: [row[i] for i in places] for name, places in lists.items()}
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
    """Return several tables as one, whose first column is the name of the table.

    It has the columns of all, by key; a cell of a column that a table lacks is not applicable.
    """
    columns = {column.key: column for table in tables for column in table.columns}
    every = tuple(replace(c, absent=(*c.absent, Absent.NOT_APPLICABLE)) for c in columns.values())

    def rows(table: Table) -> Iterator[Row]:
        places = {column.key: i for i, column in enumerate(table.columns)}
        order = [places.get(key) for key in columns]
        for row in table.rows:
            yield (table.name, *(Absent.NOT_APPLICABLE if i is None else row[i] for i in order))

    return Table("", (Column("table"), *every), chain.from_iterable(map(rows, tables)))
