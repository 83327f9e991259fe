# SPDX-License-Identifier: GPL-2.0-only
"""How contiguous free memory is, and which pages keep blocks from being free.

Every aligned block of 2 MiB and of 1 GiB has the state of its worst page: free, movable,
reclaimable, unmovable or reserved. Owners are ranked by the blocks that would be free or movable
without their pages.
"""

import argparse
from functools import partial

from ...errors import UsageError
from ...render import METRICS
from ..arguments import whole_number
from ..options import (
    add_output_arguments,
    add_target_arguments,
    open_source,
    open_target,
    write_report,
)
from ..walking import add_jobs_argument, fold_pieces, status

_LEAST_ORDER, _LARGEST_ORDER = 3, 18
_MOST_ROWS = (1 << 31) - 1
_FOR_PEOPLE = ("table", "markdown")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_target_arguments(parser)
    add_output_arguments(parser, metrics=True)
    parser.add_argument(
        "--order",
        type=whole_number("an order", _LEAST_ORDER, _LARGEST_ORDER),
        metavar="N",
        help="blocks of 1 << N pages (default: pageblocks, which are 2 MiB, and 1 GiB)",
    )
    parser.add_argument(
        "--for",
        dest="wanted",
        metavar="WHAT",
        help="list the pages in the way of: hugepage (2 MiB), gigantic (1 GiB), cma (an allocation "
        "of all of CMA), offline:N (taking memory block N offline), pfn:RANGE",
    )
    parser.add_argument(
        "--top",
        type=whole_number("a number of rows", 0, _MOST_ROWS),
        metavar="N",
        help="only the first N owners, or with --for the first N ranges of pages; 0 is all "
        "(default: 10 in tables, all in formats for programs)",
    )
    add_jobs_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Write a ContiguityReport, or with --for an ObstaclesReport."""
    if args.wanted is not None and args.order is not None:
        raise UsageError("--for and --order exclude each other", "give one of them")
    if args.wanted is not None and args.format == METRICS:
        raise UsageError("--for has no metrics", "omit --for, or choose another --format")
    if args.wanted is not None:
        from ...inspector.inspector import inspect
        from ...inspector.obstacles import find_obstacles
        from ...report.base import DEFAULT_TOP

        shown = DEFAULT_TOP if args.top is None and args.format in _FOR_PEOPLE else args.top
        inspector = inspect(open_target(args, "contiguity --for"))
        fold = partial(fold_pieces, args)
        obstacles = find_obstacles(
            inspector, args.wanted, fold=fold, top=args.top, most=shown or None
        )
        write_report(args, obstacles)
        return status(obstacles.coverage)
    report = open_source(args).contiguity(args.order, args.top, pfns=args.format not in _FOR_PEOPLE)
    write_report(args, report)
    return status(report.coverage)
