# SPDX-License-Identifier: GPL-2.0-only
"""Who owns the pages: files, slab caches, processes, callers of vmalloc and others.

Every page that has a struct page has one owner. Its kind is found from its use, or from the
kernel's own structures, such as vmalloc areas and page tables; pages that nothing leads to are
unknown. Totals of all pages are compared with the kernel's counters.
"""

import argparse
from functools import partial

from ..arguments import whole_number
from ..options import open_target, write_report
from ..walking import (
    add_jobs_argument,
    add_walking_arguments,
    fold_pieces,
    request_of,
    status,
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
    add_walking_arguments(parser, metrics=True)
    add_jobs_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Write an OwnersReport."""
    from ...inspector.inspector import inspect
    from ...inspector.owners import count_owners

    report = count_owners(
        inspect(open_target(args)),
        args.by,
        request_of(args),
        fold=partial(fold_pieces, args),
        top=args.top,
        name_all=args.format not in _FOR_PEOPLE,
    )
    write_report(args, report)
    return status(report.coverage)
