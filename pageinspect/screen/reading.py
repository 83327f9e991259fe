# SPDX-License-Identifier: GPL-2.0-only
"""What the screen asks for, and what it gets: plain data, sent as JSON between two processes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

Question = Mapping[str, Any]
"""`what`: tab (with its `name`), runs (with `use` or `owner`) or page (with `pfn`). With `mark`,
changes of all tabs are counted from their last reading on, and nothing is read."""


@dataclass(frozen=True, slots=True)
class ScreenColumn:
    """A column of a reading."""

    name: str
    """The heading."""
    texts: Sequence[str]
    """The text of each row, without control characters."""
    values: Sequence[float | None] | None = None
    """The number of each row to sort by, None for cells without one; None if cells are texts."""
    names_row: bool = False
    """Whether the column is a part of what identifies a row."""
    spare: int = 0
    """If not 0, the column is left out if there is no room for it, highest value first."""
    hidden: bool = False

    @property
    def is_number(self) -> bool:
        """Whether the column is aligned to the right."""
        return self.values is not None


@dataclass(frozen=True, slots=True)
class ScreenReading:
    """What was read at one moment: rows as columns of the same length, or lines of text."""

    columns: tuple[ScreenColumn, ...] = ()
    lines: tuple[str, ...] = ()
    about: str = ""
    """The kernel, and where it is read from."""
    time: str = ""
    """Hours, minutes and seconds."""
    since: str = ""
    """From when on changes are counted, in words; empty if there are none."""
    note: str = ""
    """What the rows lack."""
    changing: bool = False
    """Whether another reading may differ."""
    cost: float = 0.0
    """CPU time of the reading in seconds."""
    error: str = ""
    """Why there are no rows; then all the rest is empty."""
    hint: str = ""
    """What to do about it."""
    status: int = 0
    """The exit status of the error."""

    def __len__(self) -> int:
        return len(self.columns[0].texts) if self.columns else 0

    def column(self, name: str) -> ScreenColumn:
        """Return the column of this heading; raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        """Return what to_json() was made of."""
        columns = tuple(ScreenColumn(**column) for column in fields["columns"])
        return cls(**{**fields, "columns": columns, "lines": tuple(fields["lines"])})
