# SPDX-License-Identifier: GPL-2.0-only
"""The report of trace --alloc: allocations and frees, by who allocated and who freed."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..model.layout import PageLayout
from ..model.provenance import Provenance
from ..model.table import Absent, Cell, Column, Row, Table
from ..trace.held_blocks import callers_of
from ..trace.traffic_counts import (
    ALLOCATED,
    FREED,
    TrafficOptions,
    use_name,
)
from ..units import counted, number, printable, seconds, signed
from .allocation_keys import Key, KeyNames, key_column, keys_of, label_cells, stacks_of
from .base import SCHEMA, Report, View, kernel_json
from .frees import NOT_APPLICABLE
from .metrics import Metrics, kernel_metrics
from .trace_words import MEANWHILE

if TYPE_CHECKING:
    from ..trace.records import Interval
    from ..trace.stacks import Stacks
    from ..trace.traffic_counts import TrafficCounts

_OF_ALLOCATIONS = frozenset({"gfp", "migratetype"})
"""Keys that a free does not have."""


@dataclass(frozen=True, slots=True)
class TrafficRow:
    """The allocations and frees with the same values of the keys."""

    key: tuple[Key | None, ...]
    """Values of the keys of --by, None for one that a free does not have."""
    allocations: int = 0
    allocated: int = 0
    """Pages, as `freed`."""
    frees: int = 0
    freed: int = 0
    freed_as: Mapping[str, int] = field(default_factory=dict)
    """Freed pages by what they still were."""

    def __add__(self, other: "TrafficRow") -> "TrafficRow":
        return TrafficRow(
            self.key,
            self.allocations + other.allocations,
            self.allocated + other.allocated,
            self.frees + other.frees,
            self.freed + other.freed,
            Counter(self.freed_as) + Counter(other.freed_as),
        )


@dataclass(frozen=True, slots=True)
class TrafficSubject:
    """The kernel, options and names of one run, for all of its reports."""

    provenance: Provenance
    layout: PageLayout
    options: TrafficOptions = field(default_factory=TrafficOptions)
    allocating: KeyNames = field(default_factory=KeyNames)
    """What the values of keys are called."""
    freeing: "Stacks | None" = None
    """The stacks, with callers of the freeing path."""
    top: int | None = None
    interval: bool = False
    """Whether there are several reports, each about its interval."""
    redrawn: bool = False
    """Whether each report replaces the last one on the terminal."""


def traffic_rows(subject: TrafficSubject, counts: "TrafficCounts") -> tuple[TrafficRow, ...]:
    """Return a row for each combination of keys, those with most pages first."""
    found: dict[tuple[Key | None, ...], TrafficRow] = {}
    for side, names in (
        (ALLOCATED, subject.allocating),
        (FREED, KeyNames(subject.freeing)),
    ):
        for row in _rows_of_side(subject, counts, side, names):
            found[row.key] = found[row.key] + row if row.key in found else row
    return tuple(sorted(found.values(), key=lambda row: (-row.allocated - row.freed, str(row.key))))


def _rows_of_side(
    subject: TrafficSubject, counts: "TrafficCounts", side: int, names: KeyNames
) -> list[TrafficRow]:
    """Return a row for each combination of keys and of what freed pages still were."""
    records, times = counts.of_side(side)
    if not len(records):
        return []
    by = subject.options.by
    known = [key for key in by if side == ALLOCATED or key not in _OF_ALLOCATIONS]
    orders = records["order"].astype(np.int64)
    keys = keys_of(orders, records, callers_of(records), known, names)
    codes = np.stack([*(of_record for of_record, _ in keys), records["kind"].astype(np.int64)])
    combinations, group = np.unique(codes, axis=1, return_inverse=True)
    events = np.zeros(combinations.shape[1], np.int64)
    pages = events.copy()
    np.add.at(events, group.reshape(-1), times)
    np.add.at(pages, group.reshape(-1), times << orders)
    rows = []
    for combination, n, size in zip(
        combinations.T.tolist(), events.tolist(), pages.tolist(), strict=True
    ):
        values = {
            name: of_number[code]
            for name, (_, of_number), code in zip(known, keys, combination[:-1], strict=True)
        }
        key = tuple(values.get(name) for name in by)
        if side == ALLOCATED:
            rows.append(TrafficRow(key, n, size))
        else:
            use = use_name(subject.layout, combination[-1])
            rows.append(TrafficRow(key, frees=n, freed=size, freed_as={use: size}))
    return rows


@dataclass(frozen=True, slots=True)
class TrafficReport(Report):
    """The allocations and frees of one interval; times are in nanoseconds since tracing began."""

    subject: TrafficSubject
    counts: "TrafficCounts"
    start_ns: int
    end_ns: int
    rows: tuple[TrafficRow, ...]
    command_status: int | None = None

    @classmethod
    def of(cls, subject: TrafficSubject, reading: "Interval[TrafficCounts]") -> Self:
        """Return the report of a reading."""
        return cls(
            subject,
            reading.counts,
            reading.start_ns,
            reading.end_ns,
            traffic_rows(subject, reading.counts),
            reading.command_status,
        )

    @property
    def complete(self) -> bool:
        """Whether nothing was lost, and all ways to allocate single pages were watched."""
        return not self.counts.lost.total and self.counts.sees_bulk

    @property
    def total(self) -> TrafficRow:
        """All allocations and frees, also those that are in no row."""
        sides = self.counts.sides.sum(axis=1).tolist()
        allocated, freed = (self.counts.pages(side) for side in (ALLOCATED, FREED))
        uses = _sum((), self.rows).freed_as
        return TrafficRow((), sides[ALLOCATED], allocated, sides[FREED], freed, uses)

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        subject, counts = self.subject, self.counts
        found: dict[str, Any] = {
            "schema": SCHEMA,
            "kernel": kernel_json(subject.provenance, subject.layout),
            "duration_ns": self.end_ns - self.start_ns,
        }
        if subject.interval:
            found |= {"start_ns": self.start_ns, "end_ns": self.end_ns}
        if filters := subject.options.filters.to_json():
            found["filters"] = filters
        total = self.total
        found |= {
            "by": list(subject.options.by),
            "allocated": {"allocations": total.allocations, "pages": total.allocated},
            "freed": {"frees": total.frees, "pages": total.freed, "as": _ordered(total.freed_as)},
            "at_least": bool(counts.lost.total),
            "lost": counts.lost.total,
            "lost_by": counts.lost.to_json(),
            "sees_bulk": counts.sees_bulk,
            "command_status": self.command_status,
            "rows": self._table(self._shown(), "rows", document=True),
        }
        if left := self.rows[len(self._shown()) :]:
            more = _sum((), left)
            found["more_rows"] = {
                "count": len(left),
                "allocated_pages": more.allocated,
                "freed_pages": more.freed,
            }
        return found | {"vmstat": counts.compared.to_json()}

    def tables(self) -> tuple[Table, ...]:
        """Return one table: the rows, and a last one with what was lost."""
        table = self._table(self.rows, "traffic", times=True)
        none = Absent.NOT_APPLICABLE
        if lost := self.counts.lost.total:
            times = (self.start_ns, self.end_ns) if self.subject.interval else ()
            keys = label_cells("lost", self.subject.options.by)
            last = (*times, *keys, lost, *[none] * 5)
            return (Table(table.name, table.columns, [*table.rows, last]),)
        return (table,)

    def view(self) -> View:
        """Return the rows with most pages first, as numbers in a second."""
        shown = self._shown()
        table = self._table(shown, "traffic", people=True)
        rows = [*table.rows]
        if left := self.rows[len(shown) :]:
            rows.append(self._row(_sum((counted(len(left), "more row"),), left)))
        return View(
            Table(table.name, table.columns, rows),
            total=self._row(replace(self.total, key=("total",))),
            before=self._before(),
            after=self._after(),
            more=(("Freed pages, by what they still were:", self._uses()),),
        )

    def metrics(self) -> tuple[Metrics, ...]:
        """Return the allocations and frees by key, and what was lost."""
        by = self.subject.options.by
        prefix, about = "_".join(("trace_alloc_by", *by)), "trace --alloc"
        keys = [key for key in by if key != "stack"]
        numbers = ("allocations", "allocated_pages", "frees", "freed_pages")
        table = self._table(self.rows, "alloc").only(*keys, *numbers)
        times = (self.end_ns - self.start_ns, self.counts.lost.total)
        return (
            Metrics(prefix, about, "alloc", table),
            Metrics(prefix, about, "alloc", Table("alloc", _METRICS, [times])),
            kernel_metrics(prefix, about, self.subject.provenance),
        )

    def _uses(self) -> Table:
        show = _in_a_second(self.end_ns - self.start_ns, number)
        columns = (Column("freed as"), Column("freed/s", "int64", "pages", show=show))
        return Table("uses", columns, list(_ordered(self.total.freed_as).items()))

    def _shown(self) -> tuple[TrafficRow, ...]:
        return self.rows[: self.subject.top]

    def _row(self, row: TrafficRow) -> Row:
        none = Absent.NOT_APPLICABLE
        keys: list[Cell] = [
            none if each is None else printable(each) if isinstance(each, str) else each
            for each in row.key
        ]
        keys += [none] * (len(self.subject.options.by) - len(keys))
        numbers = (row.allocations, row.allocated, row.frees, row.freed)
        return (*keys, *numbers, row.allocated - row.freed, _ordered(row.freed_as))

    def _table(
        self,
        rows: Sequence[TrafficRow],
        name: str,
        *,
        document: bool = False,
        people: bool = False,
        times: bool = False,
    ) -> Table:
        begins = times and self.subject.interval
        when: Row = (self.start_ns, self.end_ns) if begins else ()
        stacks = self._stacks()
        keys = [key_column(key, stacks, document=document) for key in self.subject.options.by]
        numbers = _columns(self.end_ns - self.start_ns if people else None)
        columns = (*(_TIMES if begins else ()), *keys, *numbers)
        return Table(name, columns, [(*when, *self._row(row)) for row in rows])

    def _stacks(self) -> list[tuple[str, ...]]:
        """Return the stacks of the shown rows, each once."""
        return stacks_of(self.subject.options.by, (row.key for row in self._shown()))

    def _before(self) -> tuple[str, ...]:
        subject = self.subject
        if self.start_ns and not subject.redrawn:
            return ("",)
        span = seconds(self.end_ns - self.start_ns)
        if subject.interval:
            last = f"the {span} before {seconds(self.end_ns)}"
            span = last if subject.redrawn else "each interval"
        least = "At least these allocations" if self.counts.lost.total else "Allocations"
        text = f"{least} and frees a second in {span}, with their pages"
        lines = [subject.provenance.describe(), f"{text}, by who allocated and who freed."]
        if only := subject.options.filters.describe():
            lines.append(f"Only allocations and frees of {only}.")
        return (*lines, "")

    def _after(self) -> tuple[str, ...]:
        total, counts = self.total, self.counts
        lines = [
            (
                f"Seen: {counted(total.allocations, 'allocation')} of "
                f"{counted(total.allocated, 'page')}, and {counted(total.frees, 'free')} of "
                f"{counted(total.freed, 'page')}."
            )
        ]
        if not counts.sees_bulk:
            lines.append("Pages of the bulk allocator were not seen: it cannot be probed here.")
        if counts.lost.total:
            lines.append(self.lost_remark())
        if self.command_status:
            lines.append(f"The command ended with status {self.command_status}.")
        for i, frames in enumerate(self._stacks(), 1):
            lines += ["", f"Stack {i}:", *(f"    {printable(frame)}" for frame in frames)]
        return ("", *lines)

    def lost_remark(self) -> str:
        """Return a sentence on what was lost, and why."""
        lost = self.counts.lost
        parts = [
            (lost.missed_allocations, f"allocations {MEANWHILE}"),
            (lost.missed_frees, "frees at such times"),
            (lost.sources, "events that are in no row, because the map was full or locked"),
            (lost.stacks, "stacks, because the map of stacks was full"),
            (lost.bulk, "calls of the bulk allocator with arrays that are too long"),
        ]
        return f"Lost: {', '.join(f'{number(n)} {what}' for n, what in parts if n)}."


def _sum(key: tuple[Key | None, ...], rows: Sequence[TrafficRow]) -> TrafficRow:
    return sum(rows, TrafficRow(key))


def _ordered(uses: Mapping[str, int]) -> dict[str, int]:
    """Return uses with most pages first."""
    return {printable(name): n for name, n in sorted(uses.items(), key=lambda use: -use[1])}


def _columns(duration_ns: int | None) -> tuple[Column, ...]:
    """Return the columns of numbers; with a duration, they are shown as numbers in a second."""
    plain, net = None, None
    if duration_ns is not None:
        plain, net = _in_a_second(duration_ns, number), _in_a_second(duration_ns, signed)
    return (
        Column("allocs/s", "int64", "count", "allocations", show=plain),
        _ABSENT("pages/s", "int64", "pages", "allocated_pages", show=plain),
        _ABSENT("frees/s", "int64", "count", "frees", show=plain),
        _ABSENT("freed/s", "int64", "pages", "freed_pages", show=plain),
        _ABSENT("net/s", "int64", "pages", "net_pages", show=net),
        _ABSENT("freed as", "map[string,int64]", "pages", "freed_as", machines=True),
    )


def _in_a_second(duration_ns: int, show: Callable[[int], str]) -> Callable[[int], str]:
    span = max(duration_ns, 1)
    return lambda n: show(round(n * 1e9 / span))


_ABSENT: Any = partial(Column, absent=NOT_APPLICABLE)
_METRICS = (
    Column("duration", "int64", "ns", "duration_ns"),
    Column("lost", "int64", "count", "lost_events"),
)
_TIMES = (
    Column("from", "int64", "ns", "start_ns", machines=True),
    Column("at", "int64", "ns", "end_ns"),
)
