"""How many pages, folios and bytes of each type, use, zone, node or order.

Every pfn that has a struct page counts once: with the type of its folio's head, or of the free
block it lies in. Untyped pages are split by their own page_type word: mapped (a mapcount), reset
(-1), movable_ops (known by their mapping, before types told), odd (anything else). --by use gives
each page exactly one use, so the rows add up; two --by make a cross table. Of a whole machine, the
totals that the kernel counts too are followed by what it says of them.
"""

import argparse
from typing import TYPE_CHECKING

from ..errors import PageInspectError, UsageError
from .options import write_report
from .walking import add_walking_arguments, open_survey, status, walked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..books import Book
    from ..classify import Pages
    from ..counters import Counters
    from ..survey import Survey

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
    from dataclasses import replace

    from ..report.summary import summarise

    by = args.by or ["type"]
    if len(set(by)) != len(by):
        raise UsageError("--by names one thing twice", "give each of type, use, zone, … once")
    survey, wanted, selection = open_survey(args)
    balancing = _Balancing(survey, by)
    uses = "use" in by or selection.uses is not None
    columns = walked(survey, wanted, "use" if uses else "type")
    balanced = by in (["type"], ["use"]) and selection.everything and not args.pfn
    report = summarise(
        survey.target.provenance,
        survey.layout,
        survey.census,
        selection,
        by,
        balancing.watch(columns) if balanced else columns,
    )
    if balanced and report.coverage.complete:
        report = replace(report, books=balancing.books())
    write_report(args, report)
    return status(report.coverage)


class _Balancing:
    """Keeps the books of a walk that goes by, where the kernel's counters can be read."""

    def __init__(self, survey: "Survey", by: "Sequence[str]") -> None:
        from ..totals import Counting, TypeCounting

        self._target = survey.target
        self._counting = (Counting if by == ["use"] else TypeCounting)(survey.layout)

    def watch(self, columns: "Iterator[Pages]") -> "Iterator[Pages]":
        self._before = self._read()
        for pages in columns:
            self._counting.add(pages)
            yield pages

    def _read(self) -> "Counters | None":
        from ..counters import read_counters

        try:
            return read_counters(self._target.prog)
        except PageInspectError:
            return None

    def books(self) -> "tuple[Book, ...]":
        from ..books import balance

        after = self._read() if self._target.provenance.source == "live" else self._before
        if self._before is None or after is None:
            return ()
        return balance(self._counting.totals(), self._before, after)
