"""Runs of pages of one use, type and order, by pfn range.

A run is consecutive pfns whose folios or free blocks have the same use, type and order. A range
that cuts a folio shows the pfns inside it, typed by their head outside.
"""

import argparse

from .options import write_report
from .walking import add_walking_arguments, open_survey, status, walked

NAME = "list"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_walking_arguments(parser)
    parser.add_argument(
        "--freeing",
        action="store_true",
        help="only pages that are typed while being freed: without references, of a type whose "
        "pages have some",
    )
    parser.add_argument(
        "--each",
        action="store_true",
        help="every page on a line of its own, with its word, reference count and flags",
    )


def run(args: argparse.Namespace) -> int:
    """Write a listing while walking."""
    from ..report.listing import PagesListing, RunsListing

    survey, wanted, selection = open_survey(args)
    kind = PagesListing if args.each else RunsListing
    pages = walked(survey, wanted, None if args.each else "use")
    report = kind(survey.target.provenance, survey.layout, selection, pages)
    write_report(args, report)
    return status(report.coverage)
