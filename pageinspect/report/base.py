"""What all reports share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ..layout import PageLayout
from ..target import Provenance

SCHEMA = 1
"""Version of the JSON form: fields may be added under it, never renamed."""

Cell = str | int | None


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table; `show` turns a cell's value into what people read."""

    name: str
    show: Callable[[Any], str] = str
    align: Literal["left", "right"] = "left"


@dataclass(frozen=True, slots=True)
class Table:
    """The tabular form of a report: plain values, so that csv and the table carry the same.

    `before` and `after` are lines for people, around the table.
    """

    columns: tuple[Column, ...]
    rows: Sequence[Sequence[Cell]]
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


class Report(Protocol):
    """An answer that can be rendered."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form: one object, `schema` first."""

    def to_table(self) -> Table:
        """Return the tabular form."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many pfns were asked for that have a struct page, and how many of those were read."""

    spanned: int
    unreadable: int

    @property
    def complete(self) -> bool:
        """Whether every struct page could be read."""
        return self.unreadable == 0

    def to_json(self) -> dict[str, int]:
        """Return the JSON form, in pages."""
        return {
            "spanned": self.spanned,
            "read": self.spanned - self.unreadable,
            "unreadable": self.unreadable,
        }


def kernel_json(provenance: Provenance, layout: PageLayout) -> dict[str, str]:
    """Return the JSON form of which kernel it was, and how it was read."""
    return {
        "release": provenance.release,
        "source": provenance.source,
        "symbols": provenance.symbols,
        "scheme": layout.scheme.name,
    }
