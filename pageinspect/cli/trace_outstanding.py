# SPDX-License-Identifier: GPL-2.0-only
"""trace --outstanding: pages that were allocated while tracing and not freed."""

import argparse
import contextlib
import os
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..errors import Exit, UsageError
from ..render import RowFormat, load
from ..trace.keys import HELD_KEYS, KEYS
from .arguments import seconds, whole_number
from .intervals import IntervalOutput, is_redrawn, open_stream, until_reader_leaves
from .options import save_symbol_caches, write_report

if TYPE_CHECKING:
    from ..model.layout import PageLayout
    from ..report.outstanding import OutstandingReport, OutstandingSubject
    from ..target.open import Target
    from ..trace.compile import Compiler
    from ..trace.held_blocks import HeldReading
    from ..trace.options import Filters
    from ..trace.records import Interval

_MOST = 1 << 26


def add_outstanding(group: "argparse._ArgumentGroup") -> None:
    """Declare the options of --outstanding."""
    group.add_argument(
        "--outstanding",
        action="store_true",
        help="report pages that were allocated while tracing and not freed, by who allocated them "
        f"(--by {', '.join(HELD_KEYS)}), and what they are at the end",
    )
    group.add_argument(
        "--older",
        type=seconds,
        metavar="SECONDS",
        help="with --outstanding: only allocations of at least this age at the end",
    )
    group.add_argument(
        "--most",
        type=whole_number("a number of allocations", 1, _MOST),
        metavar="N",
        help="with --outstanding: allocations that may be outstanding at the same time (default: "
        "262144). Memory for all of them, 120 bytes each, is taken at the start",
    )


_OTHERS = {
    "type": "--type",
    "page_pool": "--page-pool",
    "tails": "--tails",
    "stacks": "--stacks",
    "events": "--events",
    "folded": "--folded",
    "disallow": "--disallow",
    "exec": "--exec",
}
"""Options about frees, by their names in the namespace."""


def check_outstanding(args: argparse.Namespace) -> None:
    """Raise UsageError for options that make no sense together."""
    keys = HELD_KEYS if args.outstanding else KEYS
    for key in args.by:
        if key not in keys:
            mode = "--outstanding has no" if args.outstanding else "only --outstanding has"
            raise UsageError(f"{mode} --by {key}", f"choose from {', '.join(keys)}")
    if not args.outstanding:
        for name in ("older", "most"):
            if getattr(args, name) is not None:
                raise UsageError(f"--{name} needs --outstanding", f"omit --{name}")
        return
    for name, option in _OTHERS.items():
        if getattr(args, name):
            advice = "write --by stack" if name == "stacks" else f"omit {option}"
            raise UsageError(f"--outstanding and {option} cannot be combined", advice)
    if args.interval is not None and not isinstance(load(args.format), RowFormat):
        raise UsageError(f"--format {args.format} is written at the end", "omit -i")


def run_outstanding(
    args: argparse.Namespace,
    compiler: "Compiler",
    announce: Callable[[], None],
    filters_of: "Callable[[Target, PageLayout], Filters]",
) -> int:
    """Trace and report. `announce` is called when tracing has begun."""
    from ..host.startup import configure_libraries

    configure_libraries()

    from ..kernel.gfp_flags import read_gfp_names
    from ..kernel.pageblocks import migratetype_names
    from ..layout import build_layout
    from ..report.outstanding import OutstandingSubject
    from ..target.open import open_target
    from ..target.symbols.sources import SymbolOptions
    from ..trace.held import HeldProgram
    from ..trace.held_blocks import MOST_HELD, HeldOptions
    from ..trace.session import Session
    from ..trace.stacks import ALLOCATING_PATH, Stacks
    from ..trace.symbolizer import Symbolizer

    target = open_target(options=SymbolOptions(only="btf"))
    args.ends.push(partial(save_symbol_caches, target, None))
    layout = build_layout(target.prog, target.vmcoreinfo)
    by = tuple(dict.fromkeys(args.by)) or ("caller",)
    options = HeldOptions(filters_of(target, layout), by, args.most or MOST_HELD)
    names: tuple[str, ...] = ()
    with contextlib.suppress(LookupError):
        names = migratetype_names(target.prog)
    with contextlib.ExitStack() as stack:
        program = stack.enter_context(HeldProgram(compiler, layout, options))
        name = Symbolizer(target.prog).name
        subject = OutstandingSubject(
            target.provenance,
            layout,
            options,
            Stacks(program.stack, name, ALLOCATING_PATH) if options.depth else None,
            names,
            read_gfp_names(target.prog),
            args.top,
            args.older or 0.0,
            os.getpid(),
            interval=args.interval is not None,
            redrawn=is_redrawn(args),
        )
        stream = stack.enter_context(open_stream(args, grows=args.interval is not None))
        form = load(args.format)
        rows = IntervalOutput(form, stream) if isinstance(form, RowFormat) else None
        session = Session(program, args.duration, args.interval, args.command, announce)
        complete = True
        with until_reader_leaves(stream), contextlib.closing(session.readings()) as readings:
            for reading in readings:
                report = _report(target, subject, reading)
                complete = complete and report.complete
                if rows is not None and subject.interval:
                    rows.write(report, redrawn=subject.redrawn)
                else:
                    write_report(args, report)
                    stream.flush()
    return int(Exit.COMPLETE if complete else Exit.INCOMPLETE)


def _report(
    target: "Target", subject: "OutstandingSubject", reading: "Interval[HeldReading]"
) -> "OutstandingReport":
    """Walk the outstanding pages, and return the report of a reading."""
    from dataclasses import replace

    from ..inspector.outstanding import owners_of
    from ..report.outstanding import OutstandingReport

    now_ns = time.monotonic_ns()
    held = reading.counts
    overtaken = held.blocks.overtaken()
    pages = int(held.blocks.pages[overtaken].sum())
    held = replace(held, blocks=held.blocks.where(~overtaken))
    owners, finder = owners_of(target, held.blocks)
    report = OutstandingReport.of(
        subject, held, owners, (reading.start_ns, reading.end_ns, now_ns), pages
    )
    return replace(report, command_status=reading.command_status, problems=finder.problems)
