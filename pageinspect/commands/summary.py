"""How many pages, folios and bytes of each type, use, zone, node or order.

Every pfn that has a struct page in use counts once: with the type of its folio's head, or of the
free block it lies in. Untyped pages are split by their own page_type word: mapped (a mapcount),
reset (-1), movable_ops (known by their mapping, before types told), odd (anything else). --by use
gives each page exactly one use, so the rows add up; two --by make a cross table. Of a whole
machine, the totals that the kernel counts too are followed by what it says of them.
"""

import argparse
from typing import TYPE_CHECKING

from ..errors import PageInspectError, UsageError
from .arguments import names_of
from .options import write_report
from .walking import add_jobs_argument, add_walking_arguments, folded, open_survey, status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..books import Book
    from ..classify.runs import Detail
    from ..counters import Counters
    from ..ranges import Range
    from ..report.summary import Counts
    from ..survey import Survey
    from ..totals import Tally


_KEYS = ("type", "use", "zone", "node", "order")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    parser.add_argument(
        "--by",
        action="extend",
        type=names_of(_KEYS),
        metavar="K,…",
        help=f"what to count by: {', '.join(_KEYS)} (default: type); may be repeated",
    )
    add_walking_arguments(parser)
    add_jobs_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Write a SummaryReport."""
    from dataclasses import replace

    from ..report.summary import Counts, count, summarise
    from ..totals import TypeTally, UseTally

    by = args.by or ["type"]
    if len(set(by)) != len(by):
        raise UsageError("--by names one thing twice", "give each of type, use, zone, … once")
    survey, wanted, selection = open_survey(args)
    tally_of = TypeTally if by == ["type"] else UseTally
    balanced = by in (["type"], ["use"]) and selection.everything and not args.pfn
    detail: Detail = "use" if "use" in by or selection.uses is not None else "type"

    def work(survey: "Survey", piece: "Sequence[Range]") -> "tuple[Counts, Tally]":
        columns = survey.sections_in_runs(piece, detail)
        tally = tally_of(survey.layout)
        if balanced:
            columns = tally.watch(columns)
        return count(survey.layout, selection, by, columns), tally

    before = _counters(survey) if balanced else None
    counts, tally = Counts(), tally_of(survey.layout)
    for part, tallied in folded(args, survey, wanted, work):
        counts.add(part)
        tally.merge(tallied)
    target = survey.target
    report = summarise(target.provenance, survey.layout, survey.census, selection, by, counts)
    if before is not None and report.coverage.complete:
        report = replace(report, books=_books(survey, tally, before))
    write_report(args, report)
    return status(report.coverage)


def _counters(survey: "Survey") -> "Counters | None":
    from ..counters import read_counters

    try:
        return read_counters(survey.target.prog)
    except PageInspectError:
        return None


def _books(survey: "Survey", tally: "Tally", before: "Counters") -> "tuple[Book, ...]":
    """Return the books of a walk, where the kernel's counters can be read."""
    from ..books import balance
    from ..survey import marking_of

    after = _counters(survey) if survey.target.provenance.changing else before
    if after is None:
        return ()
    return balance(tally.totals(), before, after, marking_of(survey.target))
