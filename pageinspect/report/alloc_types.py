# SPDX-License-Identifier: GPL-2.0-only
"""The report of trace --types-at-alloc: pages that leave the allocator with a type still set."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..model.layout import PageLayout
from ..model.provenance import Provenance
from ..model.table import Absent, Column, Row, Table
from ..trace.kinds import kind_name
from ..trace.options import Filters
from ..trace.records import FreeCounts, who_counted
from ..units import counted, number, printable, seconds
from .base import SCHEMA, Report, View, kernel_json
from .breakdown import numbered, numbered_lines
from .frees import NOT_APPLICABLE, PAGES, TYPE, Frees
from .trace_words import MEANWHILE

if TYPE_CHECKING:
    from ..trace.records import Interval
    from ..trace.stacks import Stacks

_NOT_LOOKED_AT = "Not looked at: pages of the bulk allocator and of contiguous ranges."
_ALLOCATIONS = Column("allocations", "int64", "count")
_ORDERS = Column("order:allocations", "map[string,int64]", "count", "orders", spare=1)
_COLUMNS = (
    TYPE,
    _ALLOCATIONS,
    PAGES,
    Column("size", "int64", "bytes", "bytes", spare=2),
    _ORDERS,
    Column("at allocation", key="verdict", absent=NOT_APPLICABLE),
)
_CALLERS = (
    TYPE,
    Column("caller"),
    Column("order", "int64", "order"),
    _ALLOCATIONS,
    PAGES,
    Column("frames", "list[string]", separator=";"),
)


@dataclass(frozen=True, slots=True)
class AllocTypesReport(Report):
    """Allocations by the type that the page still had, which should be none."""

    provenance: Provenance
    layout: PageLayout
    filters: Filters
    reading: "Interval[FreeCounts]"
    stacks: "Stacks"
    with_stacks: bool = False
    """Whether whole stacks are shown, and not only callers."""

    @property
    def typed(self) -> tuple[tuple[str, Frees], ...]:
        """(type, allocations by order) of types that were still set, most pages first."""
        found: dict[str, Frees] = {}
        typed = self.reading.counts.typed
        for slot in np.flatnonzero(typed.any(axis=1)).tolist():
            name = self.layout.scheme.slot_name(slot)
            found[name] = found.get(name, Frees()) + Frees(tuple(typed[slot].tolist()))
        return tuple(sorted(found.items(), key=lambda row: (-row[1].pages, row[0])))

    @property
    def untyped(self) -> Frees:
        """Allocations of pages without a type."""
        return Frees(tuple(self.reading.counts.untyped.tolist()))

    @property
    def total(self) -> Frees:
        """All allocations that were looked at."""
        return sum((allocations for _, allocations in self.typed), self.untyped)

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        reading = self.reading
        found: dict[str, Any] = {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            "duration_ns": reading.end_ns - reading.start_ns,
        }
        if filters := self.filters.to_json():
            found["filters"] = filters
        return found | {
            "allocations": self.total.frees,
            "lost": reading.counts.lost.total,
            "lost_by": reading.counts.lost.to_json(),
            "command_status": reading.command_status,
            "types": self._types(),
            "callers": self._callers(),
        }

    def tables(self) -> tuple[Table, ...]:
        """Return the table by type, and that of who took pages with a type."""
        return self._types(), self._callers()

    def view(self) -> View:
        """Return rows by type, and below them who took pages with a type."""
        callers = list(self._who())
        numbers = numbered(frames for *_, frames in callers) if self.with_stacks else {}
        rows = [(*row, *((numbers[frames],) if numbers else ())) for *row, frames in callers]
        columns = (*_CALLERS[:-1], *((Column("stack"),) if numbers else ()))
        return View(
            self._types(),
            total=self._row("total", self.total),
            before=self._before(),
            after=(*self._after(), *numbered_lines(numbers)),
            more=(("Taken with a type set:", Table("callers", columns, rows)),) if rows else (),
        )

    def _row(self, name: str, allocations: Frees, verdict: str | None = None) -> Row:
        cells = allocations.cells(self.layout.page_size)
        return (printable(name), *cells, verdict or Absent.NOT_APPLICABLE)

    def _types(self) -> Table:
        rows = [self._row(name, allocations, "STILL SET") for name, allocations in self.typed]
        return Table("types", _COLUMNS, [*rows, self._row("untyped", self.untyped)])

    def _callers(self) -> Table:
        return Table("callers", _CALLERS, list(self._who()))

    def _who(self) -> Iterable[tuple[str, str, int, int, int, tuple[str, ...]]]:
        found: dict[tuple[str, str, int, tuple[str, ...]], int] = {}
        for who, times in who_counted(self.layout, self.reading.counts.who):
            frames = self.stacks.frames(who.stack) if self.with_stacks else ()
            caller = self.stacks.caller(who.stack)
            key = (printable(kind_name(self.layout, who.kind)), caller, who.order, frames)
            found[key] = found.get(key, 0) + times
        for (name, caller, order, frames), times in sorted(found.items()):
            yield name, caller, order, times, times << order, frames

    def lost_remark(self) -> str:
        """Return what is missing from the counts, and why."""
        lost = self.reading.counts.lost
        parts = (
            (lost.missed, f"allocations {MEANWHILE}"),
            (lost.who, "callers, because there were too many"),
            (lost.stacks, "stacks, because the map of stacks was full"),
        )
        return f"Lost: {', '.join(f'{number(n)} {what}' for n, what in parts if n)}."

    def _before(self) -> tuple[str, ...]:
        span = seconds(self.reading.end_ns - self.reading.start_ns)
        meaning = "None should have a type: who takes the page sets it, afterwards."
        lines = [
            self.provenance.describe(),
            f"Pages that left the allocator in {span}. {meaning}",
        ]
        if only := self.filters.describe():
            lines.append(f"Only allocations of {only}.")
        return (*lines, "")

    def _after(self) -> tuple[str, ...]:
        lines = ["", _NOT_LOOKED_AT]
        if self.typed:
            pages = sum(allocations.pages for _, allocations in self.typed)
            lines.append(
                f"{counted(pages, 'page')} had a type while the allocator had them: somebody wrote "
                "to their struct page after the free, or their types were not reset."
            )
        if self.reading.counts.lost.total:
            lines.append(self.lost_remark())
        if self.reading.command_status:
            lines.append(f"The command ended with status {self.reading.command_status}.")
        return tuple(lines)
