# SPDX-License-Identifier: GPL-2.0-only
"""Writes the reports and events of trace as they come."""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TextIO, cast

from ..host.terminal import say, write, write_line
from . import intervals
from .options import write_report, write_text
from .trace_left_on import replaces

if TYPE_CHECKING:
    import subprocess

    from ..model.table import Row, Table
    from ..report.event import EventLines
    from ..report.trace import TraceReport
    from ..trace.records import Event

_REPORTED_EACH = 10
"""Disallowed frees of one stack that get a line each."""


def is_redrawn(args: argparse.Namespace) -> bool:
    """Return whether each interval's table replaces the last one: not if there may be alarms."""
    return not args.disallow and intervals.is_redrawn(args)


class Output:
    """Writes the reports of a trace by its options: one at the end, or many on a stream."""

    def __init__(self, args: argparse.Namespace, lines: "EventLines", stream: TextIO) -> None:
        from ..render import RowFormat, load

        self._args = args
        self._lines = lines
        self._stream = stream
        # Formats that are written as a whole are refused with options that need rows.
        self._format = cast("RowFormat", load(args.format))
        self._intervals = intervals.IntervalOutput(self._format, stream)
        self._write_rows: Callable[[Iterable[Row]], None] | None = None

    def events(self, events: "Sequence[Event]") -> None:
        """Write events, a row each."""
        self._rows(self._lines.table(events))
        self._stream.flush()

    def _rows(self, table: "Table") -> None:
        """Write rows below those of the same table, under one head."""
        if self._args.events and self._format.continues and not self._format.one_table:
            # Rows of the report follow.
            table = table.named()
        if self._write_rows is None:
            self._write_rows = self._format.begin(table, self._stream)
        self._write_rows(table.rows)

    def report(self, report: "TraceReport") -> None:
        """Write one report, to the end; raises BrokenPipeError when the reader left."""
        from ..report.trace_words import lost_remark

        if report.lost.total and (self._args.folded or self._is_events_alone()):
            # These formats have no field for it.
            write_line(lost_remark(report.lost))
        if self._args.folded:
            write_text(self._args, "".join(report.folded()))
        elif self._args.interval is not None and not replaces(self._args):
            self._intervals.write(report, redrawn=report.subject.redrawn)
        elif self._args.events:
            self._last(report)
        else:
            write_report(self._args, report)
        self._stream.flush()

    def _is_events_alone(self) -> bool:
        args = self._args
        return args.events and args.interval is None and self._format.one_table

    def _last(self, report: "TraceReport") -> None:
        """Write the report that follows the events, where the format has a place for it."""
        self._rows(self._lines.table())
        if self._format.one_table:
            return
        if not self._format.continues:
            self._stream.write(self._format.gap)
            self._format.write(report, self._stream)
            return
        for table in report.tables():
            shown = table.named()
            self._format.begin(shown, self._stream)(shown.rows)


class Watch:
    """Reports disallowed frees at once, and runs a program at the first."""

    def __init__(
        self,
        lines: "EventLines",
        disallowed: frozenset[int],
        argv: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lines = lines
        self._disallowed = disallowed
        self._argv = argv
        self._clock = clock
        self._numbers: dict[int, int] = {}
        """Number of each stack in the output, by the kernel's stack id."""
        self._seen: Counter[int] = Counter()
        """Frees by the kernel's stack id."""
        self._more: Counter[tuple[int, int]] = Counter()
        """Those not yet reported, by stack and kind."""
        self._since = 0.0
        self._program: subprocess.Popen[bytes] | None = None
        self.fired = False
        """Whether there was any."""

    def see(self, events: "Sequence[Event]") -> None:
        """Report the disallowed frees among these events on stderr.

        The first _REPORTED_EACH frees of each stack get a line each, the others one per second.
        Must also be called when there are no events.
        """
        alarms = [e for e in events if e.who.kind in self._disallowed]
        for event in alarms:
            stack = event.who.stack
            number = self._numbers.setdefault(stack, len(self._numbers) + 1)
            self._seen[stack] += 1
            if self._seen[stack] <= _REPORTED_EACH:
                # A stack is written once; after that its number is enough.
                first = self._seen[stack] == 1
                write(self._lines.alarm(event, number, with_stack=first))
                continue
            if not self._more:
                self._since = self._clock()
            self._more[stack, event.who.kind] += 1
        if self._more and self._clock() - self._since >= 1:
            self._report_more()
        if alarms:
            self.fire()

    def _report_more(self) -> None:
        for (stack, kind), frees in self._more.items():
            write(self._lines.more_alarms(kind, frees, self._numbers[stack]))
        self._more.clear()

    def fire(self) -> None:
        """Run the program, unless it has already run."""
        import subprocess

        self.fired = True
        if self._argv and self._program is None:
            try:
                self._program = subprocess.Popen(
                    self._argv,
                    stdin=subprocess.DEVNULL,
                    stdout=sys.stderr,
                    # Ctrl-C, which ends the trace, must not reach it.
                    process_group=0,
                )
            except OSError as error:
                say(f"{self._argv[0]}: cannot be started: {error.strerror}")
                self._argv = ()

    def finish(self) -> None:
        """Report what is left, and wait for the program to end."""
        self._report_more()
        if self._program is not None:
            self._program.wait()
