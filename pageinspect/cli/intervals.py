# SPDX-License-Identifier: GPL-2.0-only
"""Reports that follow each other on a stream: of the option -i."""

import argparse
import contextlib
import io
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Self, TextIO

from ..errors import Exit, PageInspectError, UsageError
from .arguments import seconds
from .options import write_report
from .output import discard_buffer, open_growing, report_stream
from .walking import status

if TYPE_CHECKING:
    from typing import TypeAlias

    from ..model.table import Row
    from ..render import RowFormat
    from ..report import Report
    from ..report.owners import OwnersReport
    from ..report.processes import ProcessesReport
    from ..report.since import Measured
    from ..report.summary import SummaryReport

    _Read: TypeAlias = SummaryReport | OwnersReport | ProcessesReport

_CLEAR = "\x1b[H\x1b[2J"
_TIME = "%Y%m%dT%H%M%SZ"


def add_interval_argument(parser: argparse.ArgumentParser) -> None:
    """Add -i, for commands that call write_readings()."""
    parser.add_argument(
        "-i",
        "--interval",
        type=seconds,
        metavar="SECONDS",
        help="read a running kernel or guest every SECONDS until Ctrl-C, with the change since the "
        "last reading. On a terminal the table is redrawn; elsewhere reports follow each other "
        "(json: one per line)",
    )


def is_redrawn(args: argparse.Namespace) -> bool:
    """Return whether each interval's table replaces the last one, as on a terminal."""
    return (
        args.interval is not None
        and args.format == "table"
        and args.output is None
        and sys.stdout is not None
        and sys.stdout.isatty()
    )


@contextlib.contextmanager
def open_stream(args: argparse.Namespace, *, grows: bool = True) -> Iterator[TextIO]:
    """Open the stream that is written at once, so that a reader can follow it.

    A file that does not grow is written whole at the end, and nothing before that.
    """
    if args.output is None:
        yield report_stream(sys.stdout)
        return
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
        # A signal ended the command: buffered output could block the exit.
        for each in (stream, sys.stdout, sys.stderr):
            discard_buffer(each)
        raise


class IntervalOutput:
    """Writes reports that follow each other, by a format."""

    def __init__(self, form: "RowFormat", stream: TextIO) -> None:
        self._format = form
        self._stream = stream
        self._write_rows: Callable[[Iterable[Row]], None] | None = None

    def write(self, report: "Report", *, redrawn: bool) -> None:
        """Write one report, in place of the last one if it is `redrawn`.

        Raises BrokenPipeError when the reader left.
        """
        if self._format.continues:
            (table,) = report.tables()
            if self._write_rows is None:
                self._write_rows = self._format.begin(table, self._stream)
            self._write_rows(table.rows)
        else:
            text = io.StringIO()
            self._format.write(report, text)
            shown = text.getvalue()
            self._stream.write(_on_screen(shown) if redrawn else shown)
        self._stream.flush()


def _on_screen(text: str) -> str:
    """Return text that clears the screen and fits on it: its first lines must not scroll away."""
    lines = text.splitlines(keepends=True)
    return "".join([_CLEAR, *lines[: shutil.get_terminal_size().lines - 1]])


class _Interrupt:
    """Ctrl-C ends a wait or a reading at once, and does not cut a report that is written."""

    def __init__(self) -> None:
        self.noted = False
        self.deferred = False

    def __enter__(self) -> Self:
        self._handler = signal.getsignal(signal.SIGINT)
        # The SIGINT of a background job stays ignored.
        if self._handler is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *_exception: object) -> None:
        signal.signal(signal.SIGINT, self._handler)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.noted = True
        if not self.deferred:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def defer(self) -> Iterator[None]:
        """Note Ctrl-C in this context, and do not raise it."""
        self.deferred = True
        try:
            yield
        finally:
            self.deferred = False


def _check_changes(args: argparse.Namespace) -> None:
    """Raise UsageError for a target that is the same at each reading."""
    for name, what in (("core", "a core"), ("snapshot", "a snapshot"), ("pause", "a paused guest")):
        if getattr(args, name, None):
            raise _same(what)


def _same(what: str) -> UsageError:
    return UsageError(
        f"{what} does not change: -i is for a running kernel or guest",
        "omit -i; pageinspect diff BEFORE AFTER compares two cores or snapshots",
    )


def write_readings(
    args: argparse.Namespace,
    read: "Callable[[bool], _Read]",
    measured: "Measured",
) -> int:
    """Write one report, or with -i one after the other until Ctrl-C; return the exit status.

    `read` returns a report; if its argument is true with all rows, also those that are not shown.
    """
    if args.interval is None:
        report = read(False)  # noqa: FBT003 - by position alone
        write_report(args, report)
        return status(report.coverage)
    _check_changes(args)
    return _write_all(args, read, measured)


def _row_format(args: argparse.Namespace) -> "RowFormat | None":
    """Return the format in which reports follow each other; None if each replaces the last one.

    Raises UsageError if there is no file to replace.
    """
    from ..render import RowFormat, load

    form = load(args.format)
    if isinstance(form, RowFormat):
        return form
    if args.output is None:
        raise UsageError(
            f"--format {args.format} is written as a whole",
            "name a file, which each reading replaces: -o FILE",
        )
    return None


def _write_all(
    args: argparse.Namespace, read: "Callable[[bool], _Read]", measured: "Measured"
) -> Exit:
    from dataclasses import replace

    from ..report.since import ReportSince

    worst, last = Exit.COMPLETE, None
    form = _row_format(args)
    write: Callable[[Report], None] = partial(write_report, args)
    with contextlib.ExitStack() as stack:
        if form is not None:
            stream = stack.enter_context(open_stream(args))
            stack.enter_context(until_reader_leaves(stream))
            write = partial(IntervalOutput(form, stream).write, redrawn=is_redrawn(args))
        interrupt = stack.enter_context(_Interrupt())
        ticks = _Ticks(args.interval)
        while not interrupt.noted:
            try:
                moment = time.strftime(_TIME, time.gmtime())
                whole = read(True)  # noqa: FBT003 - by position alone
            except (KeyboardInterrupt, PageInspectError):
                # Processes that walk pages get the signal as well, and end.
                if interrupt.noted:
                    break
                raise
            if not whole.provenance.changing:
                raise _same("this memory")
            shown = whole if "top" not in args else replace(whole, top=args.top)
            with interrupt.defer():
                reading = ReportSince(moment, shown, whole, last, measured)
                write(reading)
            worst, last = max(worst, status(whole.coverage)), whole
            with contextlib.suppress(KeyboardInterrupt):
                if not interrupt.noted:
                    ticks.wait()
    return worst


class _Ticks:
    """Waits for the next multiple of an interval; those that have passed are skipped."""

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._start = time.monotonic()

    def wait(self) -> None:
        """Sleep until the next one."""
        time.sleep(self._interval - (time.monotonic() - self._start) % self._interval)
