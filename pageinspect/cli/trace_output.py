# SPDX-License-Identifier: GPL-2.0-only
"""Writes the reports and events of trace as they come."""

import argparse
import contextlib
import io
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from ..host.terminal import say, write, write_line
from .options import write_report, write_text
from .output import discard_buffer, open_growing, report_stream

if TYPE_CHECKING:
    import subprocess

    from ..model.table import Row, Table
    from ..report.event import EventLines
    from ..report.trace import TraceReport
    from ..trace.records import Event

_CLEAR = "\x1b[H\x1b[2J"
_REPORTED_EACH = 10
"""Disallowed frees of one stack that get a line each."""


def is_redrawn(args: argparse.Namespace) -> bool:
    """Return whether each interval's table replaces the last one, as on a terminal."""
    return (
        args.interval is not None
        and not args.disallow
        and args.format == "table"
        and args.output is None
        and sys.stdout is not None
        and sys.stdout.isatty()
    )


@contextlib.contextmanager
def open_stream(args: argparse.Namespace) -> Iterator[TextIO]:
    """Open the stream that is written during the trace, so that a reader can follow it."""
    if args.output is None:
        yield report_stream(sys.stdout)
        return
    # A file that does not grow is written whole at the end, and nothing before that.
    grows = args.interval is not None or args.events
    output = args.output if grows else Path(os.devnull)
    with open_growing(output, args.mode) as stream:
        yield report_stream(stream, args.output)


@contextlib.contextmanager
def until_reader_leaves(stream: TextIO) -> Iterator[None]:
    """End quietly when the reader leaves; on a signal, discard output that would block."""
    try:
        yield
    except BrokenPipeError:
        discard_buffer(stream)
    except (KeyboardInterrupt, SystemExit):
        # A signal ended the trace: buffered output could block the exit.
        for each in (stream, sys.stdout, sys.stderr):
            discard_buffer(each)
        raise


class Output:
    """Writes the reports of a trace by its options: one at the end, or many on a stream."""

    def __init__(self, args: argparse.Namespace, lines: "EventLines", stream: TextIO) -> None:
        from ..render import RowFormat, load

        self._args = args
        self._lines = lines
        self._stream = stream
        # Formats that are written as a whole are refused with options that need rows.
        self._format = cast("RowFormat", load(args.format))
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
        elif self._args.interval is not None:
            self._interval(report)
        elif self._args.events:
            self._last(report)
        else:
            write_report(self._args, report)
        self._stream.flush()

    def _is_events_alone(self) -> bool:
        args = self._args
        return args.events and args.interval is None and self._format.one_table

    def _interval(self, report: "TraceReport") -> None:
        if self._format.continues:
            (table,) = report.tables()
            self._rows(table)
            return
        text = self._rendered(report)
        if report.subject.redrawn:
            # Cut to the screen, so that the first lines do not scroll away.
            lines = text.splitlines(keepends=True)
            text = "".join([_CLEAR, *lines[: shutil.get_terminal_size().lines - 1]])
        self._stream.write(text)

    def _last(self, report: "TraceReport") -> None:
        """Write the report that follows the events, where the format has a place for it."""
        self._rows(self._lines.table())
        if self._format.one_table:
            return
        if not self._format.continues:
            self._stream.write(self._format.gap + self._rendered(report))
            return
        for table in report.tables():
            shown = table.named()
            self._format.begin(shown, self._stream)(shown.rows)

    def _rendered(self, report: "TraceReport") -> str:
        text = io.StringIO()
        self._format.write(report, text)
        return text.getvalue()


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
