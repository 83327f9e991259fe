# SPDX-License-Identifier: GPL-2.0-only
"""trace --outstanding: pages that were allocated while tracing and not freed."""

import argparse
import os
from functools import partial
from typing import TYPE_CHECKING

from ..errors import Exit, UsageError
from ..trace.keys import HELD_KEYS, KEYS
from .arguments import seconds, whole_number
from .intervals import is_redrawn
from .trace_arguments import OF_FREES, check_interval_format, held_keys, refuse_others
from .trace_readings import write_reports

if TYPE_CHECKING:
    from ..report.outstanding import OutstandingReport, OutstandingSubject
    from ..target.open import Target
    from ..trace.held_blocks import HeldReading
    from ..trace.records import Interval
    from .traced_kernel import TracedKernel

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


_OTHERS = ("stacks", *OF_FREES)
"""Options of other questions."""


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


def run_outstanding(kernel: "TracedKernel") -> Exit:
    """Trace and report."""
    from ..report.outstanding import OutstandingSubject
    from ..trace.frame_sizes import read_frame_sizes
    from ..trace.held import ALLOCATING, HOOKED, HeldProgram
    from ..trace.held_blocks import MOST_HELD, HeldOptions

    args = kernel.args
    options = HeldOptions(kernel.filters, held_keys(args), args.most or MOST_HELD)
    sizes = None
    if options.finds_callers:
        sizes = read_frame_sizes(kernel.target.prog, [ALLOCATING], HOOKED)
    with HeldProgram(kernel.compiler, kernel.layout, options, sizes) as program:
        subject = OutstandingSubject(
            kernel.target.provenance,
            kernel.layout,
            options,
            kernel.key_names(program),
            args.top,
            args.older or 0.0,
            os.getpid(),
            interval=args.interval is not None,
            redrawn=is_redrawn(args),
        )
        report = partial(_report, kernel.target, subject)
        return write_reports(args, program, report, sees_watcher=True)


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
