# SPDX-License-Identifier: GPL-2.0-only
"""trace --alloc: allocations and frees a second, by who allocated and who freed."""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from ..errors import Exit
from ..trace.keys import HELD_KEYS
from .intervals import is_redrawn
from .trace_arguments import OF_FREES, check_interval_format, held_keys, refuse_others
from .trace_readings import write_reports

if TYPE_CHECKING:
    from .traced_kernel import TracedKernel


def add_alloc(group: "argparse._ArgumentGroup") -> None:
    """Declare the option."""
    group.add_argument(
        "--alloc",
        action="store_true",
        help="count allocations and frees a second, by who allocated and who freed "
        f"(--by {', '.join(HELD_KEYS)}), and by what the freed pages still were",
    )


_OTHERS = ("outstanding", "life", "types_at_alloc", "pfn", "stacks", *OF_FREES)
"""Options of other questions."""


def check_alloc(args: argparse.Namespace) -> None:
    """Raise UsageError for options that make no sense together."""
    if not args.alloc:
        return
    refuse_others(args, "--alloc", _OTHERS)
    check_interval_format(args)


def run_alloc(kernel: "TracedKernel") -> Exit:
    """Trace and report."""
    from ..report.traffic import TrafficReport, TrafficSubject
    from ..trace.frame_sizes import read_frame_sizes
    from ..trace.held import ALLOCATING, FREEING, HOOKED
    from ..trace.traffic import TrafficProgram
    from ..trace.traffic_counts import TrafficOptions

    args = kernel.args
    options = TrafficOptions(kernel.filters, held_keys(args))
    sizes = None
    if options.finds_callers:
        sizes = read_frame_sizes(kernel.target.prog, [ALLOCATING, FREEING], HOOKED)
    with TrafficProgram(kernel.compiler, kernel.layout, options, sizes) as program:
        subject = TrafficSubject(
            kernel.target.provenance,
            kernel.layout,
            options,
            kernel.key_names(program),
            kernel.stacks(program),
            args.top,
            interval=args.interval is not None,
            redrawn=is_redrawn(args),
        )
        return write_reports(args, program, partial(TrafficReport.of, subject))
