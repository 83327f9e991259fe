# SPDX-License-Identifier: GPL-2.0-only
"""Who owns the pages: files, slab caches, processes, callers of vmalloc and others.

Every page that has a struct page has one owner. Its kind is found from its use, or from the
kernel's own structures, such as vmalloc areas and page tables; pages that nothing leads to are
unknown. Totals of all pages are compared with the kernel's counters.
"""

import argparse

from ..arguments import whole_number
from ..intervals import add_interval_argument, write_readings
from ..options import open_source
from ..walking import (
    add_jobs_argument,
    add_walking_arguments,
    request_of,
)

_BY = ("kind", "name", "cache", "file", "cgroup", "caller", "task", "module")
_MOST_ROWS = (1 << 31) - 1
_FOR_PEOPLE = ("table", "markdown")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--by",
        choices=_BY,
        default="kind",
        metavar="K",
        help=f"what to count by: {', '.join(_BY)} (default: kind, with the owners that have most "
        "pages). name: all owners; cgroup: memory cgroups; the others: the owners of some kinds",
    )
    parser.add_argument(
        "--top",
        type=whole_number("a number of rows", 0, _MOST_ROWS),
        metavar="N",
        help="show the N owners with most pages, and one row for the others; 0 is all (default: 10 "
        "in tables, all in formats for programs)",
    )
    add_interval_argument(parser)
    add_walking_arguments(parser, metrics=True)
    add_jobs_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Write an OwnersReport, or one at each interval."""
    from ...report.since import Measured

    source, request = open_source(args), request_of(args)
    return write_readings(
        args,
        lambda whole: source.owners(
            args.by,
            request,
            top=0 if whole else args.top,
            name_all=whole or args.format not in _FOR_PEOPLE,
        ),
        Measured(("kind", "name", "filesystem"), "pages", "pages"),
    )
