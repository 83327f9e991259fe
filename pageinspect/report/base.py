# SPDX-License-Identifier: GPL-2.0-only
"""The base class of reports, and the parts that several reports have."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..model.table import Row, Table
from ..units import counted, wrapped

if TYPE_CHECKING:
    from ..model.layout import PageLayout
    from ..model.provenance import Provenance
    from ..model.ranges import Range
    from .metrics import Metrics

SCHEMA = 1
"""Version of the JSON form. Fields may be added without a new version, but not renamed."""

DEFAULT_TOP = 10
"""Rows of tables for people, of reports that have --top, and of tables beside others."""
WIDTH = 80
"""Characters of a line of sentences for people."""


@dataclass(frozen=True, slots=True)
class View:
    """A report as text for people: a table, and the lines before and after it.

    `splits[i]` are rows shown below row number i, and `total` is shown as the last row; `more` are
    further tables with their titles. Formats for programs have none of these. If `after` is a
    function, it is called after all rows were read.
    """

    table: Table
    splits: Mapping[int, Sequence[Row]] = field(default_factory=dict)
    total: Row | None = None
    before: tuple[str, ...] = ()
    after: tuple[str, ...] | Callable[[], tuple[str, ...]] = ()
    more: tuple[tuple[str, Table], ...] = ()

    def all_rows(self) -> Iterator[Row]:
        """Yield the rows of the table, with the splits and the total."""
        for i, row in enumerate(self.table.rows):
            yield row
            yield from self.splits.get(i, ())
        if self.total is not None:
            yield self.total

    def further(self) -> "Iterator[tuple[str, View]]":
        """Yield the further tables as Views, with their titles."""
        return ((title, View(table)) for title, table in self.more)

    def lines_after(self) -> tuple[str, ...]:
        """Return the lines after the table; call this after all rows were read."""
        return self.after() if callable(self.after) else self.after


class Report(ABC):
    """A result that can be rendered as a JSON document, typed tables, or text for people."""

    __slots__ = ()

    @abstractmethod
    def document(self) -> dict[str, Any]:
        """Return the JSON document, `schema` first.

        A value may be a Table, which becomes an array of its rows, or a function, which is called
        after the values before it were written.
        """

    @abstractmethod
    def tables(self) -> tuple[Table, ...]:
        """Return the tables for formats that have only rows, such as csv."""

    @abstractmethod
    def view(self) -> View:
        """Return the text for people."""

    def metrics(self) -> "tuple[Metrics, ...]":
        """Return the metrics for monitoring systems; empty if the report has none."""
        return ()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON document as plain lists and values."""
        plain: dict[str, Any] = {}
        for key, value in self.document().items():
            if isinstance(value, Table):
                plain[key] = list(value.documents())
            else:
                plain[key] = value() if callable(value) else value
        return plain


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of the requested pfns have a struct page, and how many of these could be read.

    `unsupported` names what VMCOREINFO alone does not provide; `because` is why the kernel's own
    types were not used.
    """

    spanned: int
    unreadable: int
    unsupported: tuple[str, ...] = ()
    because: str = ""
    of_whole: bool = True
    """False if the core is cut off."""
    missing: tuple[str, ...] = ()
    """Sentences about memory that is missing from the core but should be in it."""

    @property
    def complete(self) -> bool:
        """Whether every struct page could be read, and nothing is unavailable or missing."""
        return self.unreadable == 0 and not (self.unsupported or self.missing) and self.of_whole

    def remarks(self) -> tuple[str, ...]:
        """Return lines for people about unreadable, missing and unavailable data."""
        lines: list[str] = []
        if self.unreadable:
            lines += ("", f"{counted(self.unreadable, 'struct page')} could not be read.")
        if not self.of_whole:
            lines += ("", "The core is incomplete: this report may lack pages of the missing part.")
        for sentence in self.missing:
            lines += ("", *wrapped(sentence, WIDTH))
        if self.unsupported:
            lines += ("", *unavailable_remarks(self.unsupported, self.because))
        return tuple(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form, in pages."""
        fields: dict[str, Any] = {
            "spanned": self.spanned,
            "read": self.spanned - self.unreadable,
            "unreadable": self.unreadable,
            "unsupported": list(self.unsupported),
        }
        if self.missing:
            fields["missing"] = list(self.missing)
        return fields


def range_objects(found: "Iterable[Range]") -> list[dict[str, int]]:
    """Return ranges of pfns as cells of a table have them; the ends are exclusive.

    These are the keys that rows with a range have, such as those of `list`.
    """
    return [{"start": start, "end": end} for start, end in found]


def coverage_of(
    provenance: "Provenance",
    layout: "PageLayout",
    spanned: int,
    unreadable: int,
    missing: tuple[str, ...] = (),
) -> Coverage:
    """Return the Coverage of a walk: pages read, and what is missing or unavailable."""
    return Coverage(
        spanned, unreadable, layout.unavailable, provenance.because, provenance.is_whole, missing
    )


def unavailable_remarks(unavailable: Sequence[str], because: str) -> list[str]:
    """Return lines for people about what VMCOREINFO alone does not provide, and how to get it."""
    text = (
        f"Not available from VMCOREINFO alone: {', '.join(unavailable)}. Pages of such a type are "
        "listed under its number; pages of such a use are counted as idle, kernel, mapped or file."
    )
    why = f"The kernel's own types were not found: {because}."
    if not because:
        why = "The kernel's own types provide them: omit --symbols-from, or give -s VMLINUX."
    return [*wrapped(text, WIDTH), *wrapped(why, WIDTH)]


def kernel_json(provenance: "Provenance", layout: "PageLayout | None") -> dict[str, Any]:
    """Return the JSON form of the kernel: its release, and how it was read."""
    fields: dict[str, Any] = {
        "release": provenance.release,
        "source": provenance.source,
        "symbols": provenance.symbols,
    }
    if layout is not None:
        fields["scheme"] = layout.scheme.name
    if provenance.snapshot is not None:
        moment = provenance.snapshot
        fields["snapshot"] = {"host": moment.host, "time": moment.time}
    if provenance.guest is not None:
        fields["state"] = "paused" if provenance.guest.paused else "running"
        fields["reading"] = "monitor" if provenance.guest.denied else "memory"
    if provenance.notes:
        fields["notes"] = list(provenance.notes)
    return fields
