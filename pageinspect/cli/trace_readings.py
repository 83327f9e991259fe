# SPDX-License-Identifier: GPL-2.0-only
"""A trace as its options ask for it, and reports that are written as they come."""

import argparse
import contextlib
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from ..errors import Exit
from ..host.terminal import say
from ..render import RowFormat, load
from .intervals import IntervalOutput, is_redrawn, open_stream, until_reader_leaves
from .options import write_report

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..report.outstanding import OutstandingReport
    from ..report.traffic import TrafficReport
    from ..trace.records import Difference, Interval
    from ..trace.session import Session, Traced

C = TypeVar("C", bound="Difference")
E = TypeVar("E")


def announce(args: argparse.Namespace) -> None:
    """Say that tracing has begun, and what ends it."""
    ends = ["Ctrl-C"]
    if args.duration is not None:
        ends.insert(0, f"{args.duration:g} s")
    if args.command:
        ends.insert(0, f"the end of {args.command[0]}")
    say(f"tracing until {' or '.join(ends)}")


def session_of(
    args: argparse.Namespace,
    program: "Traced[C, E]",
    on_events: "Callable[[list[E]], None]" = lambda _events: None,
    *,
    sees_watcher: bool = False,
    at_end: "Callable[[Interval[C]], None]" = lambda _reading: None,
) -> "Session[C, E]":
    """Return the trace of a program: it ends, and has readings, as the options say."""
    from ..trace.session import Session

    return Session(
        program,
        args.duration,
        args.every or args.interval,
        args.command,
        partial(announce, args),
        on_events,
        sees_watcher=sees_watcher,
        at_end=at_end,
    )


def write_reports(
    args: argparse.Namespace,
    program: "Traced[C, object]",
    report_of: "Callable[[Interval[C]], OutstandingReport | TrafficReport]",
    *,
    sees_watcher: bool = False,
) -> Exit:
    """Trace; write a report at the end, or with -i one for each interval; return the status.

    With `sees_watcher` the counts have what the watcher of the command frees at its end. The last
    report is made before a command that outlives the trace is ended, so that it sees its pages.
    """
    from dataclasses import replace

    form = load(args.format)
    last: list[OutstandingReport | TrafficReport] = []
    session = session_of(
        args,
        program,
        sees_watcher=sees_watcher,
        at_end=lambda reading: last.append(report_of(reading)),
    )
    complete = True
    with open_stream(args, grows=args.interval is not None) as stream:
        rows = IntervalOutput(form, stream) if isinstance(form, RowFormat) else None
        with until_reader_leaves(stream), contextlib.closing(session.readings()) as readings:
            for reading in readings:
                report = last.pop() if last else report_of(reading)
                report = replace(report, command_status=reading.command_status)
                complete = complete and report.complete
                if rows is not None and args.interval is not None:
                    rows.write(report, redrawn=is_redrawn(args))
                else:
                    write_report(args, report)
                    stream.flush()
    return Exit.COMPLETE if complete else Exit.INCOMPLETE
