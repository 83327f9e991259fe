# SPDX-License-Identifier: GPL-2.0-only
"""How many pages, folios and bytes of each type, use, zone, node or order.

Each pfn that has a struct page in use counts once, with the type of its folio's head or of the free
block that contains it. Untyped pages are divided by their own page_type word: mapped (a mapcount),
reset (-1), movable_ops (recognized by their mapping, in kernels where they have no type), odd
(anything else). With --by use each page has exactly one use, so the rows add up. Several keys of
--by make a cross table. A summary of all memory also compares totals with the kernel's counters.
"""

import argparse

from ..arguments import NamesOf
from ..intervals import add_interval_argument, write_readings
from ..options import open_source
from ..walking import (
    add_jobs_argument,
    add_walking_arguments,
    request_of,
)

_KEYS = ("type", "use", "zone", "node", "order", "owner")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--by",
        action="extend",
        type=NamesOf(_KEYS),
        metavar="K,…",
        help=f"what to count by: {', '.join(_KEYS)} (default: type); may be repeated",
    )
    add_interval_argument(parser)
    add_walking_arguments(parser, metrics=True)
    add_jobs_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Write a SummaryReport, or one at each interval."""
    from ...report.since import Measured

    by = args.by or ["type"]
    source, request = open_source(args), request_of(args)
    return write_readings(
        args,
        lambda _whole: source.summary(by, request),
        Measured(tuple(by), "pages", "pages"),
    )
