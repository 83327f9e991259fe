"""Pages described one by one, from a kernel or from the text of dump_page()."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..analysis.page_facts.facts import Fact, PageFacts
from ..model.layout import PageLayout
from ..model.provenance import Provenance
from ..model.table import Cell, Column, Table
from ..units import printable, wrapped
from .base import SCHEMA, Coverage, coverage_of, kernel_json

_WIDTH = 60
"""Of values: with the longest field name they fit 80 columns."""
_COLUMNS = (Column("field"), Column("value"))
_EXPLAINED = (Column("raw"), Column("rule"))


def _rows(facts: Sequence[Fact], *, explain: bool) -> list[tuple[str, str]]:
    """Return a row a field; long ones go on in rows without a name.

    Fields without a text are for machines alone.
    """
    rows: list[tuple[str, str]] = []
    for fact in facts:
        if not fact.text:
            continue
        pieces = [(fact.name, fact.text)]
        if explain:
            pieces += [("- raw", fact.raw), ("- rule", fact.rule)]
        for name, text in pieces:
            for i, line in enumerate(_lines(text)):
                rows.append((name if i == 0 else "", line))
    return rows


def _lines(text: str) -> Iterator[str]:
    """Yield the lines of a value, none wider than _WIDTH as it is shown."""
    for line in wrapped(text, _WIDTH):
        yield from wrapped(printable(line), _WIDTH)


def _blocks(
    pages: Sequence[Sequence[Fact]],
    *,
    explain: bool,
    before: tuple[str, ...],
    which: tuple[str, Sequence[int]],
) -> Table:
    """Return one block a page, set apart by an empty line for people.

    Machines get a row a field: `which` is the name and the values of what tells pages apart there.
    """
    rows: list[tuple[str, str]] = []
    for facts in pages:
        if rows:
            rows.append(("", ""))
        rows += _rows(facts, explain=explain)
    name, keys = which
    columns = (Column(name), *_COLUMNS, *(_EXPLAINED if explain else ()))
    fields = [
        (key, fact.name, _cell(fact.value), *((fact.raw, fact.rule) if explain else ()))
        for key, facts in zip(keys, pages, strict=True)
        for fact in facts
    ]
    # All rows are there: their columns need no laying out.
    people = tuple(
        replace(column, width=max((len(row[i]) for row in rows), default=0))
        for i, column in enumerate(_COLUMNS)
    )
    return Table(people, rows, before=before, machines=Table(columns, fields))


def _cell(value: Any) -> Cell:
    """Return a value as one cell: what has parts as JSON."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def _json(facts: Sequence[Fact], *, explain: bool) -> dict[str, Any]:
    fields: dict[str, Any] = {fact.name: fact.value for fact in facts}
    if explain:
        fields["explain"] = {
            fact.name: {"raw": fact.raw, "rule": fact.rule}
            for fact in facts
            if fact.raw or fact.rule
        }
    return fields


@dataclass(frozen=True, slots=True)
class PageReport:
    """Everything about some pages of a kernel."""

    provenance: Provenance
    layout: PageLayout
    pages: tuple[PageFacts, ...]
    explain: bool = False
    missing: tuple[str, ...] = ()
    """What the core lacks that was asked for, as sentences."""

    @property
    def coverage(self) -> Coverage:
        """How many of the pages could be read."""
        unreadable = sum(not page.readable for page in self.pages)
        coverage = coverage_of(self.provenance, self.layout, len(self.pages), unreadable)
        # Where nothing that was asked for failed, what the core lacks does not matter.
        faults = any(fact.fault is not None for page in self.pages for fact in page.facts)
        return replace(coverage, missing=self.missing, of_whole=coverage.of_whole or not faults)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            "coverage": self.coverage.to_json(),
            "pages": [_json(page.facts, explain=self.explain) for page in self.pages],
        }

    def to_table(self) -> Table:
        """Return the tabular form: a block a page."""
        before = (self.provenance.describe(), "")
        table = _blocks(
            [p.facts for p in self.pages],
            explain=self.explain,
            before=before,
            which=("pfn", [p.pfn for p in self.pages]),
        )
        return replace(table, after=self.coverage.remarks())


@dataclass(frozen=True, slots=True)
class DumpTextReport:
    """What reports of dump_page() in a log say."""

    pages: tuple[tuple[Fact, ...], ...]
    explain: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; there is no kernel."""
        return {
            "schema": SCHEMA,
            "pages": [_json(facts, explain=self.explain) for facts in self.pages],
        }

    def to_table(self) -> Table:
        """Return the tabular form: a block a page."""
        return _blocks(
            self.pages,
            explain=self.explain,
            before=(),
            which=("report", range(1, len(self.pages) + 1)),
        )
