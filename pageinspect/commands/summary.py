"""How many pages, folios and bytes of each type, use, zone, node or order.

Every pfn that has a struct page counts once: with the type of its folio's head, or of the free
block it lies in. Untyped pages are split by their own page_type word: mapped (a mapcount), reset
(-1), movable_ops (known by their mapping, before types told), odd (anything else). --by use gives
each page exactly one use, so the rows add up; two --by make a cross table.
"""

import argparse

from ..errors import UsageError
from .options import write_report
from .walking import add_walking_arguments, open_survey, status, walked

NAME = "summary"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--by",
        action="append",
        choices=["type", "use", "zone", "node", "order"],
        help="what to count by (default: type); may be given more than once",
    )
    add_walking_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write a SummaryReport."""
    from ..report.summary import summarise

    by = args.by or ["type"]
    if len(set(by)) != len(by):
        raise UsageError("--by names one thing twice", "give each of type, use, zone, … once")
    survey, wanted, selection = open_survey(args)
    report = summarise(
        survey.target.provenance,
        survey.layout,
        survey.census,
        selection,
        by,
        walked(survey, wanted),
    )
    write_report(args, report)
    return status(report.coverage)
