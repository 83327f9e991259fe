# SPDX-License-Identifier: GPL-2.0-only
"""Finds contradictions in struct pages, and compares totals with the kernel's counters."""

from collections.abc import Callable, Sequence

from ..analysis import counter_check
from ..analysis.totals import UseTally
from ..kernel.counters import read_counters
from ..model import ranges
from ..model.ranges import Range, intersect, merge
from ..report.base import coverage_of
from ..report.check import CheckReport, Findings, find, pages_to_reread
from ..target.open import Target
from .fold import Fold
from .inspector import Inspector, marking_of


def check(
    target: Target, opened: Callable[[], Inspector], pfn: Sequence[str], *, fold: Fold
) -> CheckReport:
    """Check the pages of the ranges `pfn`, or all pages; raises PageInspectError.

    `opened` returns an Inspector with the current memory map. It is called after the counters were
    read, because reading the memory map follows the per-CPU lists. On a running kernel it is called
    again before violations are read a second time, because memory may have been hotplugged.
    """
    live = target.provenance.changing
    reduced = target.provenance.symbols == "vmcoreinfo"
    before = None if pfn or reduced else read_counters(target.prog)
    inspector = opened()
    wanted = inspector.ranges(*pfn)
    totals = before is not None

    def work(copy: Inspector, piece: Sequence[Range]) -> tuple[Findings, UseTally]:
        tally = UseTally(copy.layout)
        columns = copy.sections_in_runs(piece)
        return find(tally.watch(columns) if totals else columns, live=live), tally

    tally, findings = UseTally(inspector.layout), Findings()
    for part, tallied in fold(inspector, wanted, work):
        findings.add(part)
        tally.merge(tallied)
    coverage = coverage_of(
        target.provenance, inspector.layout, ranges.count(wanted), findings.unreadable
    )
    checks, left_out = None, ""
    if reduced:
        left_out = "VMCOREINFO alone does not provide the addresses of the counters"
    elif before is None:
        left_out = "the counters cover all pages, and only some were selected"
    elif not coverage.complete:
        left_out = "some struct pages could not be read, so the totals are incomplete"
    else:
        after = read_counters(target.prog) if live else before
        checks = counter_check.compare_counters(tally.totals(), before, after, marking_of(target))
    if live and findings.found:
        findings = _confirmed(opened(), findings)
    return CheckReport(target.provenance, inspector.layout, coverage, findings, checks, left_out)


def _confirmed(again: Inspector, findings: Findings) -> Findings:
    """Return the violations that remain when their pages are read again."""
    pages = intersect(merge(pages_to_reread(findings)), again.memory_map.spanned)
    return findings.confirmed(find(again.sections_in_runs(pages), live=True))
