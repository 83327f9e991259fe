# SPDX-License-Identifier: GPL-2.0-only
"""The report of the tracer: pages that reached the buddy allocator with a page type set."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ..model.layout import PageLayout
from ..model.table import Absent, Column, Row, Table
from ..trace.kinds import PAGE_POOL
from ..trace.records import FreeCounts, Lost, who_counted
from ..units import counted, printable, seconds
from .base import SCHEMA, Report, View, kernel_json
from .breakdown import Breakdown, Naming, WhoFrees, break_down, key_columns, stack_lines
from .frees import FREES, NOT_APPLICABLE, ORDERS, PAGES, TYPE, Frees, TypeFrees
from .metrics import Metrics, kernel_metrics
from .trace_subject import TraceSubject
from .trace_words import bad_pages_remark, lost_remark, meaning, poisoned_remark

if TYPE_CHECKING:
    from ..trace.records import Interval


def _type_frees(subject: TraceSubject, counts: FreeCounts) -> tuple[tuple[TypeFrees, ...], Frees]:
    """Return the frees of the requested types, most pages first, and those of all others."""
    layout, chosen = subject.layout, subject.types
    by_name: dict[str, Frees] = {}
    rest = Frees()
    if chosen is not None:
        by_name = {t.name: Frees() for t in layout.scheme.types if t.name in chosen}
    for slot, of_order in enumerate(counts.typed.tolist()):
        if not any(of_order):
            continue
        frees = Frees(tuple(of_order))
        name = layout.scheme.slot_name(slot)
        if chosen is None or not set(chosen).isdisjoint(name.split("+")):
            by_name[name] = by_name.get(name, Frees()) + frees
        else:
            rest += frees
    rows = [TypeFrees(name, layout.is_sticky(name), frees) for name, frees in by_name.items()]
    named = chosen is not None and "page_pool" in chosen
    if named or (subject.options.page_pool and counts.page_pool.any()):
        frees = Frees(tuple(counts.page_pool.tolist()))
        rows.append(TypeFrees(subject.kind(PAGE_POOL), False, frees))  # noqa: FBT003 - expected
    return tuple(sorted(rows, key=lambda row: (-row.frees.pages, row.type_name))), rest


def _tails(layout: PageLayout, counts: FreeCounts) -> tuple[tuple[str, int], ...]:
    """Return (type, pages) of tails with a type."""
    pages: dict[str, int] = {}
    for slot in np.flatnonzero(counts.tails).tolist():
        name = layout.scheme.slot_name(slot)
        pages[name] = pages.get(name, 0) + int(counts.tails[slot])
    return tuple(sorted(pages.items()))


@dataclass(frozen=True, slots=True)
class TraceReport(Report):
    """The frees in one interval of a run; times are in nanoseconds since the start of tracing."""

    subject: TraceSubject
    start_ns: int
    end_ns: int
    typed: tuple[TypeFrees, ...]
    others: Frees | None
    """Frees of types that were not requested; None if all were."""
    untyped: Frees
    breakdown: Breakdown | None
    """Frees by key and stack, if requested."""
    tails: tuple[tuple[str, int], ...] | None
    """(type, pages) of tails with a type in freed blocks that are not compound, if requested."""
    bad_pages: int | None
    """Calls of bad_page(); None if they were not counted."""
    disallowed: Frees
    """The disallowed frees of all types, shown or not."""
    lost: Lost
    command_status: int | None
    hwpoison: Frees = field(default_factory=Frees)
    """Frees of hwpoison pages, which do not reach the buddy allocator; in no other count."""

    @classmethod
    def of(cls, subject: TraceSubject, reading: "Interval[FreeCounts]") -> Self:
        """Return the report of a reading of the tracer's counts."""
        counts, options = reading.counts, subject.options
        typed, rest = _type_frees(subject, counts)
        breakdown = None
        if options.counts_who:
            breakdown = break_down(
                who_counted(subject.layout, counts.who),
                Naming(subject.kind, subject.zones, subject.stacks),
                options.by,
                stacks=options.stacks,
                top=subject.top,
            )
        return cls(
            subject,
            reading.start_ns,
            reading.end_ns,
            typed,
            None if subject.types is None else rest,
            Frees(tuple(counts.untyped.tolist())),
            breakdown,
            _tails(subject.layout, counts) if options.tails else None,
            counts.bad_pages,
            Frees(tuple(counts.frees[sorted(options.disallowed)].sum(axis=0).tolist())),
            counts.lost,
            reading.command_status,
            Frees(tuple(counts.hwpoison.tolist())),
        )

    @property
    def duration_ns(self) -> int:
        """The length of the interval."""
        return self.end_ns - self.start_ns

    @property
    def total(self) -> Frees:
        """All counted frees of pages that reached the buddy allocator."""
        return sum((row.frees for row in self.typed), self.untyped + (self.others or Frees()))

    @property
    def unexpected(self) -> tuple[TypeFrees, ...]:
        """The rows with frees of types that owners should clear before the free."""
        return tuple(row for row in self.typed if row.frees.frees and not row.expected)

    def verdict(self, type_name: str) -> str | None:
        """Return the verdict on frees of this type; None for untyped frees."""
        if type_name in self.subject.disallowed:
            return "DISALLOWED"
        if type_name == "untyped":
            return None
        return "expected" if self.subject.layout.is_sticky(type_name) else "UNEXPECTED"

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        subject = self.subject
        found: dict[str, Any] = {
            "schema": SCHEMA,
            "kernel": kernel_json(subject.provenance, subject.layout),
            "resets": subject.layout.resets,
            "resets_from": subject.layout.resets_from,
            "duration_ns": self.duration_ns,
        }
        if subject.interval:
            found |= {"start_ns": self.start_ns, "end_ns": self.end_ns}
        if filters := subject.options.filters.to_json():
            found["filters"] = filters
        found |= {
            "events": self.total.frees,
            "lost": self.lost.total,
            "lost_by": self.lost.to_json(),
            "command_status": self.command_status,
            "typed": self._typed_table(),
        }
        if self.others is not None:
            found["others"] = self.others.to_json()
        found["untyped"] = self.untyped.to_json()
        if self.hwpoison.frees:
            found["hwpoison"] = self.hwpoison.to_json()
        if self.tails is not None:
            tails = [(printable(name), pages) for name, pages in self.tails]
            found["tails"] = Table("tails", (TYPE, PAGES), tails)
        if self.breakdown is not None:
            found |= self.breakdown.document()
        if not subject.layout.resets:
            found["bad_pages"] = self.bad_pages
        if subject.options.disallowed:
            found["disallowed"] = self.disallowed.to_json()
        return found

    def _typed_table(self) -> Table:
        rows = [
            (
                *(printable(row.type_name), row.frees.frees, row.frees.pages),
                *(row.expected, row.type_name in self.subject.disallowed, row.frees.orders),
            )
            for row in self.typed
        ]
        verdicts = (Column("expected", "bool"), Column("disallowed", "bool"))
        return Table("typed", (TYPE, FREES, PAGES, *verdicts, ORDERS), rows)

    def tables(self) -> tuple[Table, ...]:
        """Return one table: its rows add up to all frees; a last row has the lost ones."""
        table = self._table()
        none = Absent.NOT_APPLICABLE
        lost = self._row("lost", (self.lost.total, none, none, none))
        return (replace(table, rows=[*table.rows, lost]),)

    def view(self) -> View:
        """Return rows by type, or by key and stack if requested."""
        return View(
            self._table(),
            total=self._row("total", self.total.cells(self.subject.layout.page_size)),
            before=self._before(),
            after=self._after(),
        )

    def metrics(self) -> tuple[Metrics, ...]:
        """Return the frees by type and key, and what was lost."""
        by = () if self.breakdown is None else self.breakdown.by
        prefix, about = "_".join(("trace", *(("by", *by) if by else ()))), "trace"
        times = (self.duration_ns, self.lost.total, self.disallowed.frees)
        return (
            Metrics(
                prefix,
                about,
                "trace",
                self._table().only("type", *by, "verdict", "frees", "pages", "bytes"),
            ),
            Metrics(prefix, about, "trace", Table("trace", _METRICS, [times])),
            kernel_metrics(prefix, about, self.subject.provenance),
        )

    def _table(self) -> Table:
        breakdown = self.breakdown
        cells = partial(Frees.cells, page_size=self.subject.layout.page_size)
        if breakdown is None:
            columns: tuple[Column, ...] = (TYPE, *_COLUMNS)
            rows = [
                self._row(
                    row.type_name,
                    cells(row.frees),
                    self.verdict(row.type_name) if row.frees.frees else None,
                )
                for row in self.typed
            ]
        else:
            columns = (TYPE, *key_columns(breakdown), *_COLUMNS)
            rows = [
                self._row(row.type_name, cells(row.frees), self.verdict(row.type_name), row)
                for row in breakdown.shown()
            ]
        rows += [self._row(name, cells(frees)) for name, frees in self._remaining()]
        if self.hwpoison.frees:
            rows.append(self._row("hwpoison", cells(self.hwpoison)))
        return Table("frees", (*(_TIMES if self.subject.interval else ()), *columns), rows)

    def _row(
        self, name: str, cells: Row, verdict: str | None = None, who: WhoFrees | None = None
    ) -> Row:
        """Return a row; without `who`, its keys and stack are not applicable."""
        none = Absent.NOT_APPLICABLE
        keys: Row = ()
        if self.breakdown is not None:
            n = len(self.breakdown.by) + self.breakdown.stacks
            stack = () if who is None or not self.breakdown.stacks else (who.frames,)
            keys = [none] * n if who is None else (*who.key_cells, *stack)
        times = (self.start_ns, self.end_ns) if self.subject.interval else ()
        return (*times, printable(name), *keys, *cells, verdict or none)

    def _remaining(self) -> Iterable[tuple[str, Frees]]:
        """Return (name, frees) of the rows that are not part of the breakdown."""
        rows = [] if self.others is None else [("other types", self.others)]
        shown: Sequence[WhoFrees] = ()
        if self.breakdown is not None:
            shown = self.breakdown.rows
            left_out = self.breakdown.left_out()
            if left_out.frees:
                hidden = len(self.breakdown.rows) - len(self.breakdown.shown())
                rows.insert(0, (counted(hidden, "more row"), left_out))
            if PAGE_POOL not in self.subject.options.kinds:
                name = self.subject.kind(PAGE_POOL)
                rows += [(name, row.frees) for row in self.typed if row.type_name == name]
        if not any(row.type_name == "untyped" for row in shown):
            rows.append(("untyped", self.untyped))
        return rows

    def _before(self) -> tuple[str, ...]:
        subject = self.subject
        if self.start_ns and not subject.redrawn:
            return ("",)
        span = seconds(self.duration_ns)
        if subject.interval:
            last = f"the {span} before {seconds(self.end_ns)}"
            span = last if subject.redrawn else "each interval"
        lines = [subject.provenance.describe(), f"Pages freed in {span}. {meaning(subject.layout)}"]
        if only := subject.options.filters.describe():
            lines.append(f"Only frees of {only}.")
        return (*lines, "")

    def _after(self) -> tuple[str, ...]:
        lines = [""]
        if not any(row.frees.frees for row in self.typed) and (self.typed or self.others is None):
            lines.append(f"No page was freed with {self._requested()} set.")
        if self.unexpected:
            names = ", ".join(row.type_name for row in self.unexpected)
            lines.append(f"Unexpected: {names}. The owner should clear the type before the free.")
        if disallowed := self.disallowed.frees:
            lines.append(f"Disallowed: {counted(disallowed, 'free')}.")
        lines += [
            f"Tails with a type in blocks that are not compound: {name}, {counted(pages, 'page')}."
            for name, pages in self.tails or ()
        ]
        if self.hwpoison.frees:
            lines.append(poisoned_remark(self.hwpoison.frees))
        if not self.subject.layout.resets:
            lines.append(bad_pages_remark(self.bad_pages))
        if self.lost.total:
            lines.append(lost_remark(self.lost))
        if self.command_status:
            lines.append(f"The command ended with status {self.command_status}.")
        if self.breakdown is not None and self.breakdown.stacks:
            lines += stack_lines(self.breakdown)
        if lines[1:2] == [""]:
            del lines[0]
        return tuple(lines) if len(lines) > 1 else ()

    def _requested(self) -> str:
        names = [row.type_name for row in self.typed]
        return "the type " + " or ".join(names) if self.others is not None else "a page type"

    def folded(self) -> Iterator[str]:
        """Yield lines in the format of flame graph tools: frames, outermost first, and pages."""
        if self.breakdown is not None:
            for row in self.breakdown.only(keys=False).shown():
                stack = ";".join((printable(row.type_name), *reversed(row.frames)))
                yield f"{stack} {row.frees.pages}\n"


_COLUMNS = (
    FREES,
    PAGES,
    Column("size", "int64", "bytes", "bytes", absent=NOT_APPLICABLE, spare=2),
    ORDERS,
    Column("typed free", key="verdict", absent=NOT_APPLICABLE),
)
_METRICS = (
    Column("duration", "int64", "ns", "duration_ns"),
    Column("lost", "int64", "count", "lost_events"),
    Column("disallowed", "int64", "count", "disallowed_frees"),
)
_TIMES = (
    Column("from", "int64", "ns", "start_ns", machines=True),
    Column("at", "int64", "ns", "end_ns"),
)
