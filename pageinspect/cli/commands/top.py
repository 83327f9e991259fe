# SPDX-License-Identifier: GPL-2.0-only
"""A screen that shows memory as it changes: uses, owners, processes, files and caches.

Rows are read again at an interval, with their change since the first reading or since a mark; they
can be sorted and filtered, and opened: the pages of an owner as runs, and each run as a page. Only
what is shown is read, and less often if that would take more than 15 % of a processor. A core or a
snapshot is read once. Press ? for the keys. This needs textual: pip install 'pageinspect[top]'.
"""

import argparse
import contextlib
import sys
from functools import cache, partial
from typing import TYPE_CHECKING

from ...errors import Exit, PageInspectError, UsageError
from ...host.terminal import write
from ..arguments import seconds
from ..options import SYMBOLS, add_target_arguments, open_source
from ..targets import source_of
from ..walking import add_jobs_argument

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from ...screen.reading import Question, ScreenReading
    from ..reader_process import ReaderProcess

_INTERVAL_S = 2.0
_ENDED = "the process that reads memory has ended"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    # The process that reads has limits of its own.
    parser.set_defaults(isolates=True, output=None, mode=None)
    add_target_arguments(parser)
    parser.add_argument(
        "-i",
        "--interval",
        type=seconds,
        default=_INTERVAL_S,
        metavar="SECONDS",
        help="read a running kernel or guest every SECONDS (default: 2); + and - change it",
    )
    add_jobs_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Show the screen until it is left."""
    from ...host.extras import need_library

    if args.pause:
        raise UsageError(
            "a screen would pause the guest until it is left", "omit --pause, or use summary"
        )
    need_library("textual", "top")
    streams = (sys.stdin, sys.stdout, sys.stderr)
    if not all(stream is not None and stream.isatty() for stream in streams):
        raise PageInspectError(
            "top needs a terminal for its keys and its screen",
            "summary -i, owners -i and processes -i write reports to a file or pipe",
        )
    from ..reader_process import reader_process

    with reader_process(partial(_serve, args), source_of(args)) as reader:
        return _show(args, reader)


def _show(args: argparse.Namespace, reader: "ReaderProcess") -> int:
    from ...screen.app import TopScreen
    from ...screen.client import ReaderClient

    opened = _open(reader)
    TopScreen(ReaderClient(reader.connection, reader.pid), args.interval, opened=opened).run()
    write(reader.messages())
    return int(Exit.COMPLETE)


def _open(reader: "ReaderProcess") -> "ScreenReading":
    """Open the kernel before the screen: an error is reported as that of any command."""
    from ...screen.reading import ScreenReading
    from ...screen.wire import packed, receive

    reader.connection.sendall(packed({"what": "open", "number": 0}))
    answer = receive(reader.connection)
    opened = ScreenReading.from_json(answer["reading"]) if answer else ScreenReading(error=_ENDED)
    if opened.error:
        write(reader.messages())
        kind = UsageError if opened.status == Exit.USAGE else PageInspectError
        raise kind(opened.error, opened.hint)
    return opened


def _serve(args: argparse.Namespace, connection: "socket.socket") -> None:
    """Answer the questions of the screen until its end."""
    from ...screen.reader import failed
    from ...screen.wire import answer, receive
    from .. import isolation

    source = source_of(args)
    given = [path for option in SYMBOLS if (path := getattr(args, option)) is not None]
    with contextlib.ExitStack() as ends:
        own = argparse.Namespace(**{**vars(args), "ends": ends})
        read = _answering(own)
        while (question := receive(connection)) is not None:
            try:
                reading = isolation.explain_errors(partial(read, question), source, given)
            except PageInspectError as error:
                reading = failed(error)
            connection.sendall(answer(question["number"], reading))


def _answering(args: argparse.Namespace) -> "Callable[[Question], ScreenReading]":
    """Return a function that answers questions; the first opens the kernel."""
    from ...inspector.source import KernelSource
    from ...saved.reports import SavedReports
    from ...screen.frees import FreesTab
    from ...screen.reader import Reader

    @cache
    def reader() -> Reader:
        source = open_source(args)
        if isinstance(source, SavedReports):
            return Reader(source, source.provenance, FreesTab(None))
        if not isinstance(source, KernelSource):
            raise TypeError(source)
        provenance = source.target.provenance
        live = source.target if provenance.source == "live" else None
        return Reader(source, provenance, FreesTab(live))

    return lambda question: reader().answer(question)
