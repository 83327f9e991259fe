# SPDX-License-Identifier: GPL-2.0-only
"""trace --alloc: allocations and frees a second, by who allocated and who freed."""

import argparse
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..trace.keys import HELD_KEYS
from .intervals import is_redrawn
from .trace_arguments import check_interval_format, refuse_others
from .trace_readings import open_by_btf, write_reports

if TYPE_CHECKING:
    from ..model.layout import PageLayout
    from ..target.open import Target
    from ..trace.compile import Compiler
    from ..trace.options import Filters


def add_alloc(group: "argparse._ArgumentGroup") -> None:
    """Declare the option."""
    group.add_argument(
        "--alloc",
        action="store_true",
        help="count allocations and frees a second, by who allocated and who freed "
        f"(--by {', '.join(HELD_KEYS)}), and by what the freed pages still were",
    )


_OTHERS = {
    "outstanding": "--outstanding",
    "life": "--life",
    "types_at_alloc": "--types-at-alloc",
    "type": "--type",
    "pfn": "--pfn",
    "page_pool": "--page-pool",
    "tails": "--tails",
    "stacks": "--stacks",
    "events": "--events",
    "folded": "--folded",
    "disallow": "--disallow",
    "exec": "--exec",
    "every": "--every",
}
"""Options of other questions, by their names in the namespace."""


def check_alloc(args: argparse.Namespace) -> None:
    """Raise UsageError for options that make no sense together."""
    if not args.alloc:
        return
    refuse_others(args, "--alloc", _OTHERS)
    check_interval_format(args)


def run_alloc(
    args: argparse.Namespace,
    compiler: "Compiler",
    announce: Callable[[], None],
    filters_of: "Callable[[Target, PageLayout], Filters]",
) -> int:
    """Trace and report. `announce` is called when tracing has begun."""
    opened = open_by_btf(args, compiler, filters_of)

    from ..report.allocation_keys import KeyNames
    from ..report.traffic import TrafficReport, TrafficSubject
    from ..trace.stacks import ALLOCATING_PATH, Stacks
    from ..trace.traffic import TrafficProgram
    from ..trace.traffic_counts import TrafficOptions

    by = tuple(dict.fromkeys(args.by)) or ("caller",)
    options = TrafficOptions(opened.filters, by)
    with TrafficProgram(compiler, opened.layout, options) as program:
        name = opened.function_names()
        subject = TrafficSubject(
            opened.target.provenance,
            opened.layout,
            options,
            KeyNames(
                Stacks(program.stack, name, ALLOCATING_PATH),
                opened.migratetypes() if "migratetype" in by else (),
                opened.gfp(),
            ),
            Stacks(program.stack, name),
            args.top,
            interval=args.interval is not None,
            redrawn=is_redrawn(args),
        )

        return int(write_reports(args, program, announce, partial(TrafficReport.of, subject)))
