# SPDX-License-Identifier: GPL-2.0-only
"""The report of trace --life: what tracepoints reported about some pages, in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np

from ..model.gfp import GfpNames
from ..model.layout import PageLayout
from ..model.provenance import Provenance
from ..model.ranges import count
from ..model.table import Absent, Cell, Column, Row, Table
from ..owners.free import FREE
from ..trace.options import Filters
from ..units import counted, number, printable, seconds
from .base import SCHEMA, Report, View, kernel_json
from .breakdown import numbered, numbered_lines
from .frees import NOT_APPLICABLE
from .trace_words import MEANWHILE

if TYPE_CHECKING:
    from ..trace.life_records import LifeEvent, LifeLost
    from ..trace.records import Interval
    from ..trace.stacks import Stacks

_MINOR_BITS = 20
"""Of a device number as the kernel has it."""
_ABSENT: Any = partial(Column, absent=NOT_APPLICABLE)
_EVENTS = (
    Column("seconds", "int64", "ns", "time_ns"),
    Column("cpu", "int64"),
    Column("pid", "int64"),
    Column("comm"),
    Column("event"),
    Column("pfn", "uint64", "pfn"),
    Column("pages", "int64", "pages"),
    _ABSENT("type"),
    _ABSENT("gfp", "int64", show=hex),
    _ABSENT("migratetype"),
    _ABSENT("device"),
    _ABSENT("inode", "uint64"),
    _ABSENT("index", "uint64"),
    Column("caller"),
    Column("frames", "list[string]", separator=";"),
)
_SHOWN = (
    Column("seconds", "int64", "ns", "time_ns", show=lambda ns: f"{ns / 1e9:.6f}"),
    Column("pfn", "uint64", "pfn"),
    Column("event"),
    Column("detail"),
    Column("cpu", "int64", spare=3),
    Column("pid", "int64", spare=2),
    Column("comm", spare=1),
    Column("caller"),
    Column("stack"),
)
_NOW = (Column("pfn", "uint64", "pfn"), Column("use"), Column("owner"))


class NowPage(NamedTuple):
    """What a page is after the trace."""

    pfn: int
    use: str
    owner: str
    """Empty if it is not known, and for a free page."""

    @classmethod
    def of(cls, pfn: int, texts: Mapping[str, str]) -> Self:
        """Return a page with facts by name.

        Use and owner are read one after the other: the owner of a page that is free by then is that
        of a moment before or after.
        """
        use = texts.get("use", "")
        return cls(pfn, use, "" if use in FREE.owns else texts.get("owner", ""))


@dataclass(frozen=True, slots=True)
class LifeSubject:
    """The kernel, the pages and the names of a run."""

    provenance: Provenance
    layout: PageLayout
    filters: Filters
    migratetypes: Sequence[str]
    """Names of migratetypes by number."""
    freeing: "Stacks"
    """The stacks, with callers of the freeing path."""
    allocating: "Stacks"
    """The same with callers of the allocating path."""
    with_stacks: bool = False
    """Whether whole stacks are shown to people, and not only callers."""
    seen: tuple[str, ...] = ()
    """The tracepoints that were attached."""
    lacking: tuple[str, ...] = ()
    """The tracepoints that this kernel does not have."""
    never_seen: tuple[str, ...] = ()
    """What no tracepoint reports."""
    gfp: GfpNames = field(default_factory=GfpNames)


@dataclass(frozen=True, slots=True)
class LifeReport(Report):
    """The events of some pages, by time."""

    subject: LifeSubject
    events: "tuple[LifeEvent, ...]"
    reading: "Interval[LifeLost]"
    now: tuple[NowPage, ...] = ()
    """What each page is at the end; empty if there are too many."""

    @property
    def lost(self) -> "LifeLost":
        """What is missing."""
        return self.reading.counts

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        subject = self.subject
        return {
            "schema": SCHEMA,
            "kernel": kernel_json(subject.provenance, subject.layout),
            "duration_ns": self.reading.end_ns - self.reading.start_ns,
            "filters": subject.filters.to_json(),
            "tracepoints": list(subject.seen),
            "lacking": list(subject.lacking),
            "lost": self.lost.total,
            "lost_by": self.lost.to_json(),
            "command_status": self.reading.command_status,
            "events": self._events(),
            "now": self._now(),
        }

    def tables(self) -> tuple[Table, ...]:
        """Return the table of events."""
        return (self._events(),)

    def view(self) -> View:
        """Return a row for each event, and below them what the pages are now."""
        numbers: dict[tuple[str, ...], str] = {}
        if self.subject.with_stacks:
            numbers = numbered(self.subject.freeing.frames(each.stack) for each in self.events)
        rows = [self._shown(event, numbers) for event in self.events]
        columns = (_SHOWN if numbers else _SHOWN[:-1]) if rows else ()
        return View(
            Table("events", columns, rows),
            before=self._before(),
            after=(*self._after(), *numbered_lines(numbers)),
            more=(("Now:", self._now()),) if self.now else (),
        )

    def _events(self) -> Table:
        return Table("events", _EVENTS, [self._cells(event) for event in self.events])

    def _now(self) -> Table:
        rows = [(page.pfn, printable(page.use), printable(page.owner)) for page in self.now]
        return Table("now", _NOW, rows)

    def _cells(self, event: "LifeEvent") -> Row:
        none = Absent.NOT_APPLICABLE
        file: tuple[Cell, ...] = (none, none, none)
        if event.file is not None:
            file = (_device(event.file.device), event.file.inode, event.file.offset)
        return (
            *(event.time_ns, event.cpu, event.pid, printable(event.comm), event.what),
            *(event.pfn, event.pages, self._type(event) or none),
            none if event.gfp is None else event.gfp,
            self._migratetype(event) or none,
            *file,
            *(self._caller(event), self.subject.freeing.frames(event.stack)),
        )

    def _shown(self, event: "LifeEvent", numbers: Mapping[tuple[str, ...], str]) -> Row:
        row = (
            *(event.time_ns, event.pfn, event.what, self._detail(event)),
            *(event.cpu, event.pid, printable(event.comm), self._caller(event)),
        )
        return (*row, numbers[self.subject.freeing.frames(event.stack)]) if numbers else row

    def _detail(self, event: "LifeEvent") -> str:
        parts = []
        order = event.pages.bit_length() - 1
        if event.pages == 1 << order:
            if order or event.word is not None:
                parts.append(f"order {order}")
        else:
            parts.append(counted(event.pages, "page"))
        if event.gfp is not None:
            parts.append(self.subject.gfp.text(event.gfp))
        if migratetype := self._migratetype(event):
            parts.append(migratetype)
        if type_name := self._type(event):
            parts.append(f"type {type_name}")
        if event.file is not None:
            file = event.file
            parts.append(f"page {file.offset} of inode {file.inode} on {_device(file.device)}")
        return ", ".join(parts)

    def _type(self, event: "LifeEvent") -> str:
        """Return the type that an allocation or a free found set; empty for none."""
        if event.word is None:
            return ""
        scheme = self.subject.layout.scheme
        words = np.atleast_1d(scheme.array(event.word))
        if not scheme.typed(words)[0]:
            return ""
        return printable(scheme.slot_name(int(scheme.slots(words)[0])))

    def _migratetype(self, event: "LifeEvent") -> str:
        if event.migratetype is None:
            return ""
        names = self.subject.migratetypes
        known = event.migratetype < len(names)
        return names[event.migratetype] if known else str(event.migratetype)

    def _caller(self, event: "LifeEvent") -> str:
        taken = event.gfp is not None
        stacks = self.subject.allocating if taken else self.subject.freeing
        return stacks.caller(event.stack)

    def _before(self) -> tuple[str, ...]:
        subject = self.subject
        pages = count(subject.filters.pfns)
        span = seconds(self.reading.end_ns - self.reading.start_ns)
        return (
            subject.provenance.describe(),
            f"The life of {counted(pages, 'page')} in {span}: {subject.filters.describe()}.",
            "" if self.events else "No tracepoint reported anything about these pages.",
        )

    def _after(self) -> tuple[str, ...]:
        subject = self.subject
        lines = [""]
        if subject.lacking:
            lines.append(f"This kernel lacks: {', '.join(subject.lacking)}.")
        lines.append(f"Never seen: {'; '.join(subject.never_seen)}.")
        if self.lost.total:
            lines.append(self.lost_remark())
        if self.reading.command_status:
            lines.append(f"The command ended with status {self.reading.command_status}.")
        return tuple(lines)

    def lost_remark(self) -> str:
        """Return what is missing from the events, and why."""
        lost = self.lost
        parts = [
            (lost.missed, f"events {MEANWHILE}"),
            (lost.stacks, "stacks, because the map of stacks was full"),
            (lost.events, "events, because they were not read in time"),
            (lost.unkept, "events, because there were too many: watch fewer pages"),
        ]
        remark = f"Lost: {', '.join(f'{number(n)} {what}' for n, what in parts if n)}."
        gaps = lost.missed or lost.events or lost.unkept
        return f"{remark} The life may have gaps." if gaps else remark


def _device(number_: int) -> str:
    return f"{number_ >> _MINOR_BITS}:{number_ & ((1 << _MINOR_BITS) - 1)}"
