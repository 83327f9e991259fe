"""The tabular form of a report, for every output format."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Cell = str | int | float | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; `show` turns a cell's value into what people read.

    `key` is its name for machines, who get the value itself. Rows that stream need a `width` in
    characters: longer text is cut, numbers never; 0 is as wide as it gets. A column is for
    `machines` alone, or `spare`: people do without it where the lines would get too long, and
    without the greatest `spare` first.
    """

    name: str
    show: Callable[[Any], str] = str
    align: Literal["left", "right"] = "left"
    key: str = ""
    width: int | None = None
    machines: bool = False
    spare: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """The tabular form of a report: plain values, so that csv and the table carry the same.

    For people alone are the lines `before` and `after` it, the rows that split row number i
    (`splits[i]`) and the `total`, so that machines may sum what they get. Rows may be an iterator,
    and `after` a function that is called when they are done. `machines` is the table that machines
    get where rows for people are none for them.
    """

    columns: tuple[Column, ...]
    rows: Iterable[Sequence[Cell]]
    splits: Mapping[int, Sequence[Sequence[Cell]]] = field(default_factory=dict)
    total: Sequence[Cell] | None = None
    before: tuple[str, ...] = ()
    after: tuple[str, ...] | Callable[[], tuple[str, ...]] = ()
    machines: "Table | None" = None
