# SPDX-License-Identifier: GPL-2.0-only
"""The report of `check`: contradictions in struct pages, and the counter checks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..analysis.counter_check import CounterCheck
from ..classify import Pages
from ..classify.batches import Pfns
from ..classify.columns import ramp
from ..classify.contradictions import CONTRADICTIONS, Contradiction
from ..classify.words import BLOCK_ORDER, LINK, MEMCG, OWN_MAPPING, POOL
from ..errors import Exit
from ..model.layout import PageLayout
from ..model.provenance import Provenance
from ..model.table import Absent, Column, Row, Table
from ..units import counted, number
from .base import SCHEMA, Coverage, Report, View, kernel_json
from .counters import counters_table
from .overlaps import Overlap, overlaps_table

MOST_KEPT = 10_000
"""Violations of one rule that are kept; the others are only counted."""
_MOST_SHOWN = 10
"""Violations of one rule that the text for people lists."""
_RANKS = {rule.name: rank for rank, rule in enumerate(CONTRADICTIONS)}


@dataclass(frozen=True, slots=True)
class Violation:
    """One page that breaks a rule; `detail` has the words of its struct page."""

    rule: str
    pfn: int
    detail: str


@dataclass(slots=True)
class Findings:
    """The violations of a walk: the first MOST_KEPT of each rule, and the number of all."""

    violations: list[Violation] = field(default_factory=list)
    found: dict[str, int] = field(default_factory=dict)
    """The number of pages that break each rule, by name; rules without violations are missing."""
    unreadable: int = 0

    def add(self, later: "Findings") -> None:
        """Add the findings of later pfns."""
        for rule, n in later.found.items():
            before = self.found.get(rule, 0)
            kept = [violation for violation in later.violations if violation.rule == rule]
            self.violations += kept[: max(MOST_KEPT - before, 0)]
            self.found[rule] = before + n
        self.violations.sort(key=_place)
        self.unreadable += later.unreadable

    def confirmed(self, again: "Findings") -> "Findings":
        """Return the violations that both readings found.

        Violations that were not kept were not read again, and are not counted.
        """
        second = {(violation.rule, violation.pfn) for violation in again.violations}
        kept = [v for v in self.violations if (v.rule, v.pfn) in second]
        found: dict[str, int] = {}
        for violation in kept:
            found[violation.rule] = found.get(violation.rule, 0) + 1
        return Findings(kept, found, self.unreadable)


def find(columns: Iterable[Pages], *, live: bool) -> Findings:
    """Apply every rule to the wanted pages; to a running kernel (`live`) only rules with `live`."""
    findings = Findings()
    rules = [rule for rule in CONTRADICTIONS if rule.live or not live]
    for pages in columns:
        findings.unreadable += pages.unreadable
        for rule in rules:
            broken = rule.broken(pages)
            for among in (pages.batch.wanted, pages.batch.readable):
                if among is not None:
                    broken = broken[among[broken]]
            if len(broken):
                _keep(findings, rule, pages, broken)
    findings.violations.sort(key=_place)
    return findings


def _place(violation: Violation) -> tuple[int, int]:
    """Return the sort key of violations: pfn, then the order of the rules."""
    return violation.pfn, _RANKS[violation.rule]


def _keep(findings: Findings, rule: Contradiction, pages: Pages, broken: Pfns) -> None:
    before = findings.found.get(rule.name, 0)
    lengths = pages.lengths[broken]
    findings.found[rule.name] = before + int(lengths.sum())
    rows = np.repeat(broken, lengths)[: max(MOST_KEPT - before, 0)]
    pfns = (np.repeat(pages.pfns[broken], lengths) + ramp(lengths))[: len(rows)]
    findings.violations += [
        Violation(rule.name, pfn, _detail(pages, row))
        for pfn, row in zip(pfns.tolist(), rows.tolist(), strict=True)
    ]


def _detail(pages: Pages, i: int) -> str:
    """Return the fields of a struct page that the rules read, as text."""
    layout = pages.layout
    flags = int(pages.flags[i])
    names = [name for name, bit in layout.flag_bits if flags >> bit & 1]
    row = np.array([i])
    said = [
        f"{layout.scheme.word_name} {layout.scheme.hex(int(pages.word[i]))}",
        *([] if layout.refcount is None else [f"refcount {int(pages.refcount[i])}"]),
        *(
            f"{read.word} {int(pages.read(read, row)[0]):#x}"
            for read in (OWN_MAPPING, LINK, MEMCG)
            if getattr(layout, read.word) is not None
        ),
        *(["page_pool signature"] if pages.read(POOL, row)[0] else []),
        f"flags {'|'.join(names) or 'none'}",
        f"node {int(pages.node[i])}",
    ]
    if layout.zone_field is not None:
        said.append(f"zone {pages.memory_map.zone_name(int(pages.zone[i])).removeprefix('zone ')}")
    block = int(pages.block[i])
    if block >= 0:
        head = int(pages.pfns[pages.buddy_heads[block]])
        order = int(pages.read(BLOCK_ORDER, np.array([block]))[0])
        said.append(f"in the free block {head:#x} of order {order}")
    elif pages.tail[i]:
        said.append(f"tail of {int(pages.heads[i]):#x}")
    return ", ".join(said)


_RULES = (Column("rule"), Column("pages", "int64", "pages"), Column("sentence"))
_VIOLATIONS = (Column("rule"), Column("pfn", "uint64", "pfn"), Column("detail"))
_SHOWN = ("name", "counted", "before", "kernel", "verdict", "why")
"""The columns of a counter check in the text for people."""


@dataclass(frozen=True, slots=True)
class CheckReport(Report):
    """The result of `check`. If `counters` is None, `left_out` is the reason."""

    provenance: Provenance
    layout: PageLayout
    coverage: Coverage
    findings: Findings
    counters: tuple[CounterCheck, ...] | None
    left_out: str = ""
    overlaps: tuple[Overlap, ...] = ()
    """Pages that several kinds of owners claim."""

    @property
    def status(self) -> Exit:
        """The exit status; a finding takes precedence over unreadable pages."""
        if self.findings.found or any(b.verdict == "differs" for b in self.counters or ()):
            return Exit.FINDING
        return Exit.COMPLETE if self.coverage.complete else Exit.INCOMPLETE

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            "coverage": self.coverage.to_json(),
            "violations": self._violations_table(),
            "found": {rule.name: self.findings.found[rule.name] for rule in self._broken()},
            "counters": counters_table(self.counters or ()),
            "left_out": self.left_out or None,
            "overlaps": overlaps_table(self.overlaps),
        }

    def tables(self) -> tuple[Table, ...]:
        """Return the tables of broken rules, of violations, and of counter checks."""
        return self._rules_table(), self._violations_table(), counters_table(self.counters or ())

    def _rules_table(self) -> Table:
        rows = [(r.name, self.findings.found[r.name], r.sentence) for r in self._broken()]
        return Table("rules", _RULES, rows)

    def _violations_table(self) -> Table:
        rows = [(v.rule, v.pfn, v.detail) for v in self.findings.violations]
        return Table("violations", _VIOLATIONS, rows)

    def view(self) -> View:
        """Return a row per broken rule and per counter check; reasons are numbered notes below."""
        none = Absent.NOT_APPLICABLE
        rows: list[Row] = [
            (rule, pages, none, none, "violation", sentence)
            for rule, pages, sentence in self._rules_table().rows
        ]
        checks = counters_table(self.counters or ()).only(*_SHOWN)
        rows += checks.rows
        notes = {why: f"[{i}]" for i, why in enumerate(self._reasons(), 1)}
        columns = {column.key: column for column in checks.columns}
        # The counters of a stopped kernel do not change: show one column.
        moved = any(check.before != check.kernel for check in self.counters or ())
        changes: dict[str, dict[str, Any]] = {
            "before": {"absent": (none,), "machines": not moved},
            "kernel": {"absent": (none,), "name": "kernel after" if moved else "kernel"},
            "why": {"show": lambda why: notes.get(why, "")},
        }
        shown = tuple(replace(column, **changes.get(key, {})) for key, column in columns.items())
        return View(
            Table("findings", shown, rows),
            before=(self.provenance.describe(), ""),
            after=(*self._verdict(), *self._notes(notes), *self._violations()),
        )

    def _broken(self) -> Iterator[Contradiction]:
        return (rule for rule in CONTRADICTIONS if rule.name in self.findings.found)

    def _reasons(self) -> list[str]:
        return list(dict.fromkeys(check.why for check in self.counters or () if check.why))

    def _verdict(self) -> Iterator[str]:
        n = sum(self.findings.found.values())
        found = counted(n, "violation") if n else "No violation"
        if self.findings.found or self.counters:
            yield ""
        pages = counted(self.coverage.spanned, "page")
        rules = sum(rule.needs not in self.layout.unavailable for rule in CONTRADICTIONS)
        yield f"{found} of {counted(rules, 'rule')} in {pages}."
        if self.left_out:
            yield f"Totals were not compared with the kernel's counters: {self.left_out}."
        for overlap in self.overlaps:
            shared = counted(overlap.pages, "page", "are")
            yield f"{shared} of the kind {overlap.kind}, and claimed by {overlap.other} as well."
        yield from self.coverage.remarks()

    def _notes(self, notes: dict[str, str]) -> Iterator[str]:
        if notes:
            yield ""
        for check in self.counters or ():
            if check.why:
                yield f"{notes[check.why]} {check.name} ({check.counter}): {check.why}."

    def _violations(self) -> Iterator[str]:
        for rule in self._broken():
            yield ""
            yield f"{rule.name}: {rule.sentence} Likely cause: {rule.cause}"
            kept = [v for v in self.findings.violations if v.rule == rule.name]
            yield from (f"- {v.pfn:#x}: {v.detail}" for v in kept[:_MOST_SHOWN])
            more = self.findings.found[rule.name] - min(len(kept), _MOST_SHOWN)
            if more:
                yield f"- and {number(more)} more: --format json"


def pages_to_reread(findings: Findings) -> list[tuple[int, int]]:
    """Return the pages to read again, as (start, end) pfns, end exclusive, not merged."""
    return [(pfn, pfn + 1) for pfn in np.unique([v.pfn for v in findings.violations]).tolist()]
