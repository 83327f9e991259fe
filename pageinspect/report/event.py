"""Single frees, one line each, and those that must not be."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ..trace.records import Event
from ..units import counted, printable
from .trace_subject import TraceSubject

_FIELDS = ("time_ns", "cpu", "pid", "comm", "type", "order", "pfn")


@dataclass(frozen=True, slots=True)
class EventLines:
    """Events of a run as lines of the forms."""

    subject: TraceSubject

    def _values(self, event: Event) -> dict[str, Any]:
        who = event.who
        return {
            "time_ns": event.time_ns,
            "cpu": who.cpu,
            "pid": who.pid,
            "comm": printable(who.comm),
            "type": printable(self.subject.kind(who.kind)),
            "order": who.order,
            "pfn": event.pfn,
        }

    def _frames(self, event: Event) -> tuple[str, ...]:
        stacks = self.subject.stacks
        return stacks.frames(event.who.stack) if stacks is not None else ()

    def header(self, form: str) -> str:
        """Return what comes before the first line."""
        if form == "csv":
            return ",".join([*_FIELDS, *(["frames"] if self.subject.options.stacks else [])]) + "\n"
        return _LINE.format(*_HEADINGS) if form == "table" else ""

    def lines(self, events: Iterable[Event], form: str) -> Iterator[str]:
        """Return each event in a form: a line, and in tables its stack below."""
        for event in events:
            values = self._values(event)
            frames = self._frames(event) if self.subject.options.stacks else ()
            if form == "json":
                yield json.dumps(values | ({"frames": list(frames)} if frames else {})) + "\n"
            elif form == "csv":
                line = io.StringIO()
                row = [*values.values()]
                if self.subject.options.stacks:
                    row.append(";".join(frames))
                csv.writer(line, lineterminator="\n").writerow(row)
                yield line.getvalue()
            else:
                yield _LINE.format(
                    f"{values['time_ns'] / 1e9:.6f}",
                    *(values[name] for name in _FIELDS[1:-1]),
                    f"{event.pfn:#x}",
                )
                yield from (f"    {frame}\n" for frame in frames)

    def alarm(self, event: Event, stack: int, *, with_stack: bool) -> str:
        """Return the lines that tell of a free which must not be; `stack` is what it is called."""
        values = self._values(event)
        freed = (
            f"pageinspect: DISALLOWED: {values['type']} freed at {values['time_ns'] / 1e9:.6f} s, "
            f"order {values['order']}, pfn {event.pfn:#x}, by {values['comm']} "
            f"(pid {values['pid']}) on CPU {values['cpu']}, stack {stack}\n"
        )
        frames = self._frames(event) if with_stack else ()
        return freed + "".join(f"    {frame}\n" for frame in frames)

    def more_alarms(self, kind: int, frees: int, stack: int) -> str:
        """Return the line that counts frees which must not be, of one kind and stack."""
        name = printable(self.subject.kind(kind))
        return f"pageinspect: DISALLOWED: {counted(frees, 'more free')} of {name}, stack {stack}\n"


_LINE = "{:>14} {:>4} {:>7}  {:<15}  {:<13}  {:>5}  {:>10}\n"
_HEADINGS = ("seconds", "cpu", "pid", "comm", "type", "order", "pfn")
