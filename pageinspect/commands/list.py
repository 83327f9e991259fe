"""Runs of pages of one type and order, by pfn range.

A run is consecutive pfns whose folios or free blocks have the same type and the same order. A range
that cuts a folio shows the pfns inside it, typed by their head outside.
"""

import argparse

from .options import comma_separated, write_report
from .walking import add_walking_arguments, open_survey, select_types, status, typed_pages

NAME = "list"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--type",
        type=comma_separated,
        default=(),
        metavar="T,…",
        help="only pages of these types (see `pageinspect types`), or untyped",
    )
    add_walking_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write a RunsReport."""
    from ..ranges import count
    from ..report.runs import find_runs

    survey, wanted = open_survey(args)
    report = find_runs(
        survey.target.provenance,
        survey.layout,
        count(wanted),
        select_types(survey.layout, args.type),
        typed_pages(survey, wanted),
    )
    write_report(args, report)
    return status(report.coverage)
