"""Where memory contradicts itself, and whether the totals agree with the kernel's counters.

Every struct page is held against the rules of docs/check.md, and every total that the kernel counts
too against its counter: verified, explained (off in a way and by no more than a rule allows), or
differs. On a running kernel, what looks broken is read again: only what is broken twice is a
violation. With --pfn no total is compared: the counters cover all pages. The status is 4 when
there is a violation or a total that differs.
"""

import argparse
from typing import TYPE_CHECKING

from ..options import open_target, write_report
from ..walking import add_jobs_argument, add_pfn_argument, folded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...analysis.totals import UseTally
    from ...inspector.inspector import Inspector
    from ...model.ranges import Range
    from ...report.check import Findings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the command."""
    add_pfn_argument(parser)
    add_jobs_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Write a CheckReport."""
    from ...analysis import counter_check
    from ...analysis.totals import UseTally
    from ...inspector.inspector import inspect, marking_of
    from ...kernel.counters import read_counters
    from ...model import range_text, ranges
    from ...report.base import coverage_of
    from ...report.check import CheckReport, Findings, find

    target = open_target(args)
    live = target.provenance.changing
    # Before the memory map, which follows the CPU lists: what it finds lies between both readings.
    reduced = target.provenance.symbols == "vmcoreinfo"
    before = None if args.pfn or reduced else read_counters(target.prog)
    opened = inspect(target)
    wanted = range_text.resolve(args.pfn, opened.memory_map, opened.layout.page_shift)
    totals = before is not None

    def work(inspector: "Inspector", piece: "Sequence[Range]") -> "tuple[Findings, UseTally]":
        tally = UseTally(inspector.layout)
        columns = inspector.sections_in_runs(piece)
        return find(tally.watch(columns) if totals else columns, live=live), tally

    tally, findings = UseTally(opened.layout), Findings()
    for part, tallied in folded(args, opened, wanted, work):
        findings.add(part)
        tally.merge(tallied)
    coverage = coverage_of(
        target.provenance, opened.layout, ranges.count(wanted), findings.unreadable
    )
    balanced, left_out = None, ""
    if reduced:
        left_out = "VMCOREINFO alone does not provide their addresses"
    elif before is None:
        left_out = "they cover all pages, and --pfn selects some"
    elif not coverage.complete:
        left_out = "some struct pages could not be read, so the totals are incomplete"
    else:
        after = read_counters(target.prog) if live else before
        balanced = counter_check.balance(tally.totals(), before, after, marking_of(target))
    if live and findings.found:
        findings = _confirmed(inspect(target), findings)
    report = CheckReport(target.provenance, opened.layout, coverage, findings, balanced, left_out)
    write_report(args, report)
    return report.status


def _confirmed(again: "Inspector", findings: "Findings") -> "Findings":
    """Return what is still broken when the suspicious pages are read again.

    By the zones and sections of that moment, for memory may have been plugged in or out meanwhile.
    """
    from ...model.ranges import intersect, merge
    from ...report.check import find, spots

    pages = intersect(merge(spots(findings)), again.memory_map.spanned)
    return findings.confirmed(find(again.sections_in_runs(pages), live=True))
