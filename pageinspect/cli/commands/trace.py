# SPDX-License-Identifier: GPL-2.0-only
"""Count pages that are freed with a page type still set, as they are freed.

Counts the pages that this kernel frees, by the page type that is still set when they reach the
buddy allocator. The trace ends when COMMAND ends, after SECONDS, or at Ctrl-C, and then writes its
report. COMMAND's stdout is sent to stderr, and its exit status is in the report. A COMMAND that
still runs when the trace ends is terminated. Other options answer other questions: who allocated
pages and did not free them (--outstanding), who allocates and frees most (--alloc), what happened
to a page before (--life), which pages are allocated with a type still set (--types-at-alloc).
"""

import argparse
import shutil
from typing import TYPE_CHECKING

from ...errors import PageInspectError, UsageError
from ...host.terminal import say
from ...render import RowFormat, load
from ..arguments import seconds
from ..options import add_output_arguments
from ..output import check_output
from ..trace_alloc import add_alloc, check_alloc, run_alloc
from ..trace_arguments import add_details, add_filters, add_watch, check_age, refuse_targets
from ..trace_frees import run_frees
from ..trace_left_on import add_left_on, check_left_on, grows
from ..trace_outstanding import add_outstanding, check_outstanding, run_outstanding
from ..trace_pages import add_pages, check_pages, run_life, run_types_at_alloc

if TYPE_CHECKING:
    from ...host.files import UntrustedError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.usage = "pageinspect trace [options] [--exec PROGRAM ARG...] [-- COMMAND...]"
    parser.add_argument(
        "-d", "--duration", type=seconds, metavar="SECONDS", help="end after SECONDS"
    )
    parser.add_argument(
        "-i",
        "--interval",
        type=seconds,
        metavar="SECONDS",
        help="write a report every SECONDS, about what happened since the last one (--outstanding: "
        "about all that is outstanding). On a terminal the table is redrawn; elsewhere reports "
        "follow each other (json: one per line; prometheus, of typed frees alone: counts since the "
        "start, which replace the file of -o)",
    )
    parser.add_argument(
        "--no-cache",
        action="store_true",
        help="compile the BPF program even if the cache has it, and do not keep it",
    )
    add_filters(parser.add_argument_group("which frees, allocations or pages (default: all)"))
    add_details(parser.add_argument_group("who freed"))
    add_watch(parser.add_argument_group("disallowed frees"))
    add_left_on(parser.add_argument_group("left on"))
    add_pages(parser.add_argument_group("other questions"))
    add_outstanding(parser.add_argument_group("pages that were not freed"))
    add_alloc(parser.add_argument_group("allocations and frees"))
    add_output_arguments(
        parser,
        "with -i, --events: as it grows; with --every, FILE is the folder of a dataset",
        metrics=True,
    )
    refuse_targets(parser)
    parser.add_argument(
        "command",
        nargs="*",
        metavar="COMMAND",
        help="command to run; tracing lasts from before its start until after its end",
    )


def check_command(command: list[str]) -> None:
    """Raise PageInspectError when the command cannot be started, before anything else is done."""
    if command and shutil.which(command[0]) is None:
        raise PageInspectError(
            f"{command[0]}: command not found, or not executable",
            "check its name; shell syntax needs a shell: -- sh -c '…'",
        )


def check_together(args: argparse.Namespace) -> None:
    """Raise UsageError for options that make no sense together."""
    check_alloc(args)
    check_pages(args)
    check_outstanding(args)
    check_age(args)
    if args.events and args.interval is not None:
        raise UsageError("--events and -i cannot be combined", "choose one of them")
    if args.folded and (args.events or args.interval is not None or args.format != "table"):
        raise UsageError(
            "--folded is a format of its own, written at the end", "omit --format, --events and -i"
        )
    if args.folded and args.by:
        raise UsageError("--folded and --by cannot be combined", "omit --by, or use --stacks")
    check_left_on(args)
    if grows(args) and not isinstance(load(args.format), RowFormat):
        raise UsageError(f"--format {args.format} is written at the end", "omit --events and -i")
    if args.exec == []:
        raise UsageError("--exec names no program", "write it last: --exec PROGRAM ARG...")
    if args.exec and not args.disallow:
        raise UsageError("--exec needs --disallow", "name the frees to wait for: --disallow T,…")
    groups = args.by or args.stacks or args.folded or args.outstanding or args.alloc
    if args.top is not None and not groups:
        raise UsageError("--top needs groups to choose from", "add --by or --stacks")


def _say_compiling(refused: "UntrustedError | None") -> None:
    if refused is not None:
        say(f"{refused.message}; {refused.hint}")
    say("compiling the BPF program; tracing has not begun")


def _check(args: argparse.Namespace) -> None:
    """Raise PageInspectError for what can be found out before the kernel is opened."""
    from ...model.range_text import check_syntax

    check_together(args)
    check_command(args.command)
    check_command(args.exec or [])
    check_syntax(args.pfn)
    load(args.format)
    if args.every is None:
        check_output(args.output, args.mode)
        return
    from ...dataset.schema import arrow
    from ...host.startup import hide_pandas

    hide_pandas()
    arrow()


_MODES = {
    "life": run_life,
    "types_at_alloc": run_types_at_alloc,
    "outstanding": run_outstanding,
    "alloc": run_alloc,
}
"""What answers other questions than that of typed frees, by the option that asks."""


def run(args: argparse.Namespace) -> int:
    """Trace and report."""
    from ...trace.compile import Compiler
    from ...trace.find_bcc import find_bcc
    from ..traced_kernel import open_traced

    _check(args)
    compiler = Compiler(find_bcc(), cached=not args.no_cache, before=_say_compiling)
    compiler.preload()
    mode = next((mode for name, mode in _MODES.items() if getattr(args, name)), None)
    kernel = open_traced(args, compiler, needs_types=mode is not None)
    return int((mode or run_frees)(kernel))
