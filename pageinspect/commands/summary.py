"""How many pages, folios and bytes of each page type.

Every pfn that has a struct page counts once: with the type of its folio's head, or of the free
block it lies in. Untyped pages are split by their own page_type word: mapped (a mapcount), reset
(-1), movable_ops (known by their mapping, before types told), odd (anything else).
"""

import argparse

from .options import write_report
from .walking import add_walking_arguments, open_survey, status, typed_pages

NAME = "summary"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--by", choices=["type"], default="type", help="what to count by (default: type)"
    )
    add_walking_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Write a SummaryReport."""
    from ..ranges import count
    from ..report.summary import summarise

    survey, wanted = open_survey(args)
    report = summarise(
        survey.target.provenance, survey.layout, count(wanted), typed_pages(survey, wanted)
    )
    write_report(args, report)
    return status(report.coverage)
