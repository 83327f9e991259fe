# SPDX-License-Identifier: GPL-2.0-only
"""Finds contradictions in struct pages, and compares totals with the kernel's counters."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..analysis.totals import UseTally
from ..kernel.counters import read_counters
from ..model import ranges
from ..model.ranges import Range, intersect, merge
from ..owners.assign import Assigner, OwnerTally, edges_of
from ..owners.counters import compare_owners
from ..report.base import coverage_of
from ..report.check import CheckReport, Findings, find, pages_to_reread
from ..report.overlaps import overlaps_of
from ..target.open import Target
from .fold import Fold
from .inspector import Inspector, marking_of
from .lost_pages import with_pointer
from .owner_finder import owner_finder


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
    finder = None if reduced else owner_finder(inspector)

    claims = {} if finder is None else finder.claims
    edges = edges_of(claims)

    def work(copy: Inspector, piece: Sequence[Range]) -> tuple[Findings, UseTally, OwnerTally]:
        tally, assigner = UseTally(copy.layout), Assigner(copy.layout, claims, edges)
        columns = copy.sections_in_runs(piece, "all", edges)
        watched = assigner.watch(tally.watch(columns) if totals else columns)
        return find(watched, live=live), tally, assigner.tally

    tally, findings, owned = UseTally(inspector.layout), Findings(), OwnerTally()
    for part, tallied, assigned in fold(inspector, wanted, work):
        findings.add(part)
        tally.merge(tallied)
        owned.merge(assigned)
    coverage = coverage_of(
        target.provenance,
        inspector.layout,
        ranges.count(wanted),
        findings.unreadable,
    )
    checks, left_out = None, ""
    if finder is None:
        left_out = "VMCOREINFO alone does not provide the addresses of the counters"
    elif before is None:
        left_out = "the counters cover all pages, and only some were selected"
    elif not coverage.complete:
        left_out = "some struct pages could not be read, so the totals are incomplete"
    else:
        after = read_counters(target.prog) if live else before
        marking = marking_of(target)
        checks = compare_owners(
            tally.totals(), owned.by_kind, finder.structures, before, after, marking
        )
    if live and findings.found:
        findings = _confirmed(opened(), findings)
    missing = () if finder is None else finder.problems
    return CheckReport(
        target.provenance,
        inspector.layout,
        with_pointer(inspector, replace(coverage, missing=missing)),
        findings,
        checks,
        left_out,
        overlaps_of(owned.overlaps),
    )


def _confirmed(again: Inspector, findings: Findings) -> Findings:
    """Return the violations that remain when their pages are read again."""
    pages = intersect(merge(pages_to_reread(findings)), again.memory_map.spanned)
    return findings.confirmed(find(again.sections_in_runs(pages), live=True))
