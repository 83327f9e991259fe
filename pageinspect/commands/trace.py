"""Count the pages that are freed with a page type still set, while they are freed.

Counts this kernel's frees of pages by the page type that is set when they reach the buddy
allocator, until COMMAND ends, SECONDS are over or Ctrl-C; each of them ends it with the report.
COMMAND's stdout is sent to stderr, and its exit status is in the report. A COMMAND that outlives
the run is ended.
"""

import argparse
import contextlib
import io
import shutil
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from ..errors import Exit, PageInspectError
from .options import add_output_arguments, comma_separated, no_such_name, write_report
from .output import cannot_write, check_output

if TYPE_CHECKING:
    from ..report.trace import TraceReport
    from ..schemes import Scheme

NAME = "trace"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.usage = (
        "pageinspect trace [-d SECONDS] [-i SECONDS] [--type T,…] [--format FORMAT] [-o FILE] "
        "[-- COMMAND…]"
    )
    parser.add_argument(
        "-d", "--duration", type=_seconds, metavar="SECONDS", help="end after SECONDS"
    )
    parser.add_argument(
        "-i",
        "--interval",
        type=_seconds,
        metavar="SECONDS",
        help="report every SECONDS what was freed since the last report (json: a line each)",
    )
    parser.add_argument(
        "--type", type=comma_separated, metavar="T,…", help="show these page types alone"
    )
    add_output_arguments(parser)
    parser.add_argument(
        "command",
        nargs="*",
        metavar="COMMAND",
        help="run it, and count from before its start until after its end",
    )


_SHORTEST, _LONGEST = 0.01, 1e8
"""Seconds: what an interval may be, and three years."""


def _seconds(text: str) -> float:
    """Type of -d and -i: more than nothing, and an end."""
    value = float(text)
    if not _SHORTEST <= value <= _LONGEST:
        raise ValueError
    return value


_seconds.__name__ = "number of seconds"


def check_command(command: list[str]) -> None:
    """Raise PageInspectError when the command cannot be started, before anything else is done."""
    if command and shutil.which(command[0]) is None:
        raise PageInspectError(
            f"{command[0]}: command not found, or not executable",
            "check its name; a shell's own words need one: -- sh -c '…'",
        )


def check_types(names: tuple[str, ...] | None, scheme: "Scheme") -> None:
    """Raise UsageError unless these are names of page types of this kernel."""
    known = [page_type.name for page_type in scheme.types]
    for name in names or ():
        if name not in known:
            raise no_such_name("page type", name, known)


@contextlib.contextmanager
def _interval_stream(args: argparse.Namespace) -> Iterator[TextIO]:
    """Open where interval reports go: one after the other, so that a reader can follow them."""
    if args.output is None:
        yield sys.stdout
        return
    try:
        stream = args.output.open("w", encoding="utf-8")
    except OSError as error:
        raise cannot_write(args.output, error.strerror) from None
    with stream:
        yield stream


def _write_interval(report: "TraceReport", form: str, stream: TextIO) -> None:
    from ..render import render

    text = io.StringIO()
    render(report, form, text)
    # One csv file has one header.
    skipped = 1 if form == "csv" and report.start_ns else 0
    stream.write("".join(text.getvalue().splitlines(keepends=True)[skipped:]))
    stream.flush()


def _announce() -> None:
    if sys.stderr.isatty():
        sys.stderr.write("tracing… Ctrl-C ends it\n")


def run(args: argparse.Namespace) -> int:
    """Trace and report."""
    from ..trace.find_bcc import find_bcc, load_bcc, preload

    check_command(args.command)
    check_output(args.output)
    package = find_bcc()
    preload()

    from ..layout import build_layout
    from ..report.trace import TraceReport
    from ..symbols import Given
    from ..target import open_target
    from ..trace.program import PageFreeProgram
    from ..trace.session import Session

    # What VMCOREINFO alone tells is too little to trace with.
    target = open_target(given=Given(only="btf"))
    layout = build_layout(target.prog, target.vmcoreinfo)
    check_types(args.type, layout.scheme)
    with PageFreeProgram(load_bcc(package), layout) as program:
        session = Session(program, args.duration, args.interval, args.command, _announce)
        lost = 0
        with contextlib.closing(session.readings()) as readings:
            reports = (
                TraceReport.of(
                    target.provenance,
                    layout,
                    reading,
                    types=args.type,
                    interval=args.interval is not None,
                )
                for reading in readings
            )
            for report in _written(args, reports):
                lost += report.lost.events
    return int(Exit.INCOMPLETE if lost else Exit.COMPLETE)


def _written(args: argparse.Namespace, reports: "Iterator[TraceReport]") -> "Iterator[TraceReport]":
    """Write each report as it comes, and pass it on."""
    if args.interval is None:
        for report in reports:
            write_report(args, report)
            yield report
        return
    with _interval_stream(args) as stream:
        for report in reports:
            _write_interval(report, args.format, stream)
            yield report
