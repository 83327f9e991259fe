# SPDX-License-Identifier: GPL-2.0-only
"""Runs of pages of one use, type and order, by pfn range.

A run is consecutive pfns whose folios or free blocks have the same use, type and order. If a range
contains only a part of a folio, that part is shown, with the type of the folio's head.
"""

import argparse

from ..options import open_source, write_report
from ..walking import (
    add_jobs_argument,
    add_walking_arguments,
    request_of,
    status,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_walking_arguments(parser)
    add_jobs_argument(parser)
    parser.add_argument(
        "--freeing",
        action="store_true",
        help="only pages that are being freed with their type set: pages without references, of a "
        "type whose pages normally have references",
    )
    parser.add_argument(
        "--each",
        action="store_true",
        help="one line per page instead of one per run, with its page_type word, reference count "
        "and flags; uses one process",
    )


def run(args: argparse.Namespace) -> int:
    """Write a listing while walking."""
    from ...report.listing import PagesListing, RunsListing

    if args.each:
        # Listing single pages uses one process.
        args.jobs = 1
    report = open_source(args).list(
        PagesListing if args.each else RunsListing, request_of(args, freeing=args.freeing)
    )
    write_report(args, report)
    return status(report.coverage)
