"""Runs of pages of one use, type and order, by pfn range.

A run is consecutive pfns whose folios or free blocks have the same use, type and order. A range
that cuts a folio shows the pfns inside it, typed by their head outside.
"""

import argparse
from typing import TYPE_CHECKING

from ..options import write_report
from ..walking import (
    add_jobs_argument,
    add_walking_arguments,
    folded,
    open_inspector,
    status,
    walked,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...inspector.inspector import Inspector
    from ...model.ranges import Range
    from ...report.listing import Runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_walking_arguments(parser)
    add_jobs_argument(parser)
    parser.add_argument(
        "--freeing",
        action="store_true",
        help="only pages that are typed while being freed: without references, of a type whose "
        "pages have some",
    )
    parser.add_argument(
        "--each",
        action="store_true",
        help="every page on a line of its own, with its word, reference count and flags, however "
        "long that line gets; one process walks",
    )


def run(args: argparse.Namespace) -> int:
    """Write a listing while walking."""
    from ...report.listing import PagesListing, RunsListing, runs_of

    inspector, wanted, selection = open_inspector(args)
    about = inspector.target.provenance, inspector.layout, selection

    def work(inspector: "Inspector", piece: "Sequence[Range]") -> "Runs":
        return runs_of(selection, inspector.sections_in_runs(piece, "use"))

    report = (
        PagesListing(*about, walked(args, inspector, wanted))
        if args.each
        else RunsListing(*about, folded(args, inspector, wanted, work, streamed=True))
    )
    write_report(args, report)
    return status(report.coverage)
