# SPDX-License-Identifier: GPL-2.0-only
"""The reports of `page`: facts about pages of a kernel, or from the text of dump_page()."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..analysis.page_facts.facts import Fact, PageFacts
from ..model.layout import PageLayout
from ..model.provenance import Provenance
from ..model.table import Absent, Column, Table
from ..units import printable, wrapped
from .base import SCHEMA, Coverage, Report, View, coverage_of, kernel_json

_WIDTH = 60
"""Width of values: with the longest field name a line fits into 80 columns."""
_FIELDS = (
    Column("field"),
    Column("value", "json", absent=tuple(Absent)),
)
_EXPLAINED = (Column("raw"), Column("rule"))
_PFN = Column("pfn", "uint64", "pfn")
_REPORT = Column("report", "int64")
_PEOPLE = (Column("field"), Column("value"))


def _rows(facts: Sequence[Fact], *, explain: bool) -> list[tuple[str, str]]:
    """Return a row per field; long values continue in rows without a name.

    Fields without text are only in the formats for programs, and are skipped.
    """
    rows: list[tuple[str, str]] = []
    for fact in facts:
        if not fact.text:
            continue
        pieces = [(fact.name, fact.text), *(("", line) for line in fact.more)]
        if explain:
            pieces += [("- raw", fact.raw), ("- rule", fact.rule)]
        for name, text in pieces:
            for i, line in enumerate(_lines(text)):
                rows.append((name if i == 0 else "", line))
    return rows


def _lines(text: str) -> Iterator[str]:
    """Yield the lines of a value, each at most _WIDTH wide after control characters are escaped."""
    for line in wrapped(text, _WIDTH):
        yield from wrapped(printable(line), _WIDTH)


def _fields(which: Column, pages: Iterable[tuple[int, Sequence[Fact]]], *, explain: bool) -> Table:
    """Return a table with a row per field; `which` is the column of the number of each page."""
    rows = [
        (number, fact.name, fact.value, *((fact.raw, fact.rule) if explain else ()))
        for number, facts in pages
        for fact in facts
    ]
    return Table("fields", (which, *_FIELDS, *(_EXPLAINED if explain else ())), rows)


def _object(facts: Sequence[Fact], *, explain: bool) -> dict[str, Any]:
    """Return the fields of a page as one object; raw words and rules are in its field `explain`."""
    records = [*_fields(_PFN, [(0, facts)], explain=explain).records()]
    page = {record["field"]: record["value"] for record in records}
    if explain:
        page["explain"] = {
            record["field"]: {"raw": record["raw"], "rule": record["rule"]}
            for record in records
            if record["raw"] or record["rule"]
        }
    return page


def _blocks(pages: Sequence[Sequence[Fact]], *, explain: bool, before: tuple[str, ...]) -> View:
    """Return one block of rows per page, separated by empty rows."""
    rows: list[tuple[str, str]] = []
    for facts in pages:
        if rows:
            rows.append(("", ""))
        rows += _rows(facts, explain=explain)
    # All rows are known, so the columns get fixed widths.
    people = tuple(
        replace(column, width=max((len(row[i]) for row in rows), default=0))
        for i, column in enumerate(_PEOPLE)
    )
    return View(Table("fields", people, rows), before=before)


@dataclass(frozen=True, slots=True)
class PageReport(Report):
    """All facts about some pages of a kernel."""

    provenance: Provenance
    layout: PageLayout
    pages: tuple[PageFacts, ...]
    explain: bool = False
    missing: tuple[str, ...] = ()
    """Sentences about requested memory that is missing from the core."""

    @property
    def coverage(self) -> Coverage:
        """The Coverage of the described pages."""
        unreadable = sum(not page.readable for page in self.pages)
        coverage = coverage_of(self.provenance, self.layout, len(self.pages), unreadable)
        # A core that is cut off does not matter if all requested memory could be read.
        faults = any(fact.fault is not None for page in self.pages for fact in page.facts)
        return replace(coverage, missing=self.missing, of_whole=coverage.of_whole or not faults)

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            "coverage": self.coverage.to_json(),
            "pages": [_object(page.facts, explain=self.explain) for page in self.pages],
        }

    def tables(self) -> tuple[Table, ...]:
        """Return the table with a row per field."""
        return (_fields(_PFN, ((p.pfn, p.facts) for p in self.pages), explain=self.explain),)

    def view(self) -> View:
        """Return a block a page."""
        before = (self.provenance.describe(), "")
        facts = [page.facts for page in self.pages]
        blocks = _blocks(facts, explain=self.explain, before=before)
        return replace(blocks, after=self.coverage.remarks())


@dataclass(frozen=True, slots=True)
class DumpTextReport(Report):
    """The facts from reports of dump_page() in a log."""

    pages: tuple[tuple[Fact, ...], ...]
    explain: bool = False

    def document(self) -> dict[str, Any]:
        """Return the JSON document, which has no field `kernel`."""
        pages = [_object(facts, explain=self.explain) for facts in self.pages]
        return {"schema": SCHEMA, "pages": pages}

    def tables(self) -> tuple[Table, ...]:
        """Return the table with a row per field."""
        return (_fields(_REPORT, enumerate(self.pages, 1), explain=self.explain),)

    def view(self) -> View:
        """Return a block a page."""
        return _blocks(self.pages, explain=self.explain, before=())
