# SPDX-License-Identifier: GPL-2.0-only
"""Single typed frees as rows, and the alarm lines for disallowed frees."""

from collections.abc import Iterable
from dataclasses import dataclass

from ..model.table import Column, Row, Table
from ..trace.records import Event
from ..units import counted, printable
from .trace_subject import TraceSubject

_COLUMNS = (
    Column("seconds", "int64", "ns", "time_ns", show=lambda ns: f"{ns / 1e9:.6f}", width=14),
    Column("cpu", "int64", width=4),
    Column("pid", "int64", width=7),
    Column("comm", width=15),
    Column("type", width=13),
    Column("order", "int64", "order", width=5),
    Column("pfn", "uint64", "pfn", width=10),
)
_FRAMES = Column("frames", "list[string]", separator=";", below=True)


@dataclass(frozen=True, slots=True)
class EventLines:
    """Turns the events of a run into rows and alarm lines."""

    subject: TraceSubject

    def table(self, events: Iterable[Event] = ()) -> Table:
        """Return the table of events, with stacks if they were requested."""
        if not self.subject.options.stacks:
            return Table("events", _COLUMNS, map(self._cells, events))
        rows = ((*self._cells(event), self._frames(event)) for event in events)
        return Table("events", (*_COLUMNS, _FRAMES), rows)

    def _cells(self, event: Event) -> Row:
        who = event.who
        kind = printable(self.subject.kind(who.kind))
        comm = printable(who.comm)
        return (event.time_ns, who.cpu, who.pid, comm, kind, who.order, event.pfn)

    def _frames(self, event: Event) -> tuple[str, ...]:
        stacks = self.subject.stacks
        return stacks.frames(event.who.stack) if stacks is not None else ()

    def alarm(self, event: Event, stack: int, *, with_stack: bool) -> str:
        """Return the lines that report a disallowed free; `stack` is the name of its stack."""
        who = event.who
        kind, comm = printable(self.subject.kind(who.kind)), printable(who.comm)
        freed = (
            f"pageinspect: DISALLOWED: {kind} freed at {event.time_ns / 1e9:.6f} s, "
            f"order {who.order}, pfn {event.pfn:#x}, by {comm} (pid {who.pid}) on CPU {who.cpu}, "
            f"stack {stack}\n"
        )
        frames = self._frames(event) if with_stack else ()
        return freed + "".join(f"    {frame}\n" for frame in frames)

    def more_alarms(self, kind: int, frees: int, stack: int) -> str:
        """Return the line that counts further disallowed frees of one kind and stack."""
        name = printable(self.subject.kind(kind))
        return f"pageinspect: DISALLOWED: {counted(frees, 'more free')} of {name}, stack {stack}\n"
