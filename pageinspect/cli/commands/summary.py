"""How many pages, folios and bytes of each type, use, zone, node or order.

Every pfn that has a struct page in use counts once: with the type of its folio's head, or of the
free block it lies in. Untyped pages are split by their own page_type word: mapped (a mapcount),
reset (-1), movable_ops (known by their mapping, before types told), odd (anything else). --by use
gives each page exactly one use, so the rows add up; two --by make a cross table. Of a whole
machine, the totals that the kernel counts too are followed by what it says of them.
"""

import argparse
from typing import TYPE_CHECKING

from ...errors import PageInspectError, UsageError
from ..arguments import names_of
from ..options import write_report
from ..walking import add_jobs_argument, add_walking_arguments, folded, open_inspector, status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...analysis.counter_check import CounterCheck
    from ...analysis.totals import Tally
    from ...classify.details import Detail
    from ...inspector.inspector import Inspector
    from ...model.counters import Counters
    from ...model.ranges import Range
    from ...report.summary import Counts


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

    from ...analysis.totals import TypeTally, UseTally
    from ...report.summary import Counts, count, summarise

    by = args.by or ["type"]
    if len(set(by)) != len(by):
        raise UsageError("--by names one thing twice", "give each of type, use, zone, … once")
    inspector, wanted, selection = open_inspector(args)
    tally_of = TypeTally if by == ["type"] else UseTally
    balanced = by in (["type"], ["use"]) and selection.everything and not args.pfn
    detail: Detail = "use" if "use" in by or selection.uses is not None else "type"

    def work(inspector: "Inspector", piece: "Sequence[Range]") -> "tuple[Counts, Tally]":
        columns = inspector.sections_in_runs(piece, detail)
        tally = tally_of(inspector.layout)
        if balanced:
            columns = tally.watch(columns)
        return count(inspector.layout, selection, by, columns), tally

    before = _counters(inspector) if balanced else None
    counts, tally = Counts(), tally_of(inspector.layout)
    for part, tallied in folded(args, inspector, wanted, work):
        counts.add(part)
        tally.merge(tallied)
    target = inspector.target
    report = summarise(
        target.provenance, inspector.layout, inspector.memory_map, selection, by, counts
    )
    if before is not None and report.coverage.complete:
        report = replace(report, checks=_counter_checks(inspector, tally, before))
    write_report(args, report)
    return status(report.coverage)


def _counters(inspector: "Inspector") -> "Counters | None":
    from ...kernel.counters import read_counters

    try:
        return read_counters(inspector.target.prog)
    except PageInspectError:
        return None


def _counter_checks(
    inspector: "Inspector", tally: "Tally", before: "Counters"
) -> "tuple[CounterCheck, ...]":
    """Return the counter checks of a walk, where the kernel's counters can be read."""
    from ...analysis.counter_check import balance
    from ...inspector.inspector import marking_of

    after = _counters(inspector) if inspector.target.provenance.changing else before
    if after is None:
        return ()
    return balance(tally.totals(), before, after, marking_of(inspector.target))
