# SPDX-License-Identifier: GPL-2.0-only
"""trace --outstanding: pages that were allocated while tracing and not freed."""

import argparse
import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..trace.keys import HELD_KEYS, KEYS
from .arguments import seconds, whole_number
from .intervals import is_redrawn
from .trace_arguments import check_interval_format, refuse_others
from .trace_readings import open_by_btf, write_reports

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
    "every": "--every",
}
"""Options about frees, by their names in the namespace."""


def check_outstanding(args: argparse.Namespace) -> None:
    """Raise UsageError for options that make no sense together."""
    keys = HELD_KEYS if args.outstanding or args.alloc else KEYS
    for key in args.by:
        if key not in keys:
            mode = "only --outstanding and --alloc have"
            if keys is HELD_KEYS:
                mode = f"{'--alloc' if args.alloc else '--outstanding'} has no"
            raise UsageError(f"{mode} --by {key}", f"choose from {', '.join(keys)}")
    if not args.outstanding:
        for name in ("older", "most"):
            if getattr(args, name) is not None:
                raise UsageError(f"--{name} needs --outstanding", f"omit --{name}")
        return
    refuse_others(args, "--outstanding", _OTHERS)
    check_interval_format(args)


def run_outstanding(
    args: argparse.Namespace,
    compiler: "Compiler",
    announce: Callable[[], None],
    filters_of: "Callable[[Target, PageLayout], Filters]",
) -> int:
    """Trace and report. `announce` is called when tracing has begun."""
    opened = open_by_btf(args, compiler, filters_of)

    from ..report.outstanding import OutstandingSubject
    from ..trace.frame_sizes import read_frame_sizes
    from ..trace.held import HOOKED, HeldProgram
    from ..trace.held_blocks import MOST_HELD, HeldOptions
    from ..trace.stacks import ALLOCATING_PATH, Stacks

    by = tuple(dict.fromkeys(args.by)) or ("caller",)
    options = HeldOptions(opened.filters, by, args.most or MOST_HELD)
    sizes = None
    if options.finds_callers:
        sizes = read_frame_sizes(opened.target.prog, ALLOCATING_PATH, HOOKED)
    with HeldProgram(compiler, opened.layout, options, sizes) as program:
        name = opened.function_names()
        subject = OutstandingSubject(
            opened.target.provenance,
            opened.layout,
            options,
            Stacks(program.stack, name, ALLOCATING_PATH) if options.depth else None,
            opened.migratetypes(),
            opened.gfp(),
            args.top,
            args.older or 0.0,
            os.getpid(),
            interval=args.interval is not None,
            redrawn=is_redrawn(args),
        )

        report = partial(_report, opened.target, subject)
        return int(write_reports(args, program, announce, report, sees_watcher=True))


def _report(
    target: "Target", subject: "OutstandingSubject", reading: "Interval[HeldReading]"
) -> "OutstandingReport":
    """Walk the outstanding pages, and return the report of a reading."""
    from dataclasses import replace

    from ..inspector.outstanding import owners_of
    from ..report.outstanding import OutstandingReport

    held = reading.counts
    overtaken = held.blocks.overtaken()
    pages = int(held.blocks.pages[overtaken].sum())
    held = replace(held, blocks=held.blocks.where(~overtaken))
    owners, finder = owners_of(target, held.blocks)
    times = reading.start_ns, reading.end_ns, reading.clock_ns
    report = OutstandingReport.of(subject, held, owners, times, pages)
    return replace(report, problems=finder.problems)
