# SPDX-License-Identifier: GPL-2.0-only
"""The report of `audit`: what a core has of memory, what it lacks, and what follows from that."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Literal, NamedTuple

from ..analysis.dump_levels import FREE, LEVEL_RULES
from ..errors import Exit
from ..model.layout import PageLayout
from ..model.presence import PfnSet, State
from ..model.provenance import Provenance
from ..model.ranges import Range, merge
from ..model.table import Column, Row, Table
from ..owners.dump_fates import CAUSES, FATE, FATES
from ..units import counted, number, wrapped
from .base import DEFAULT_TOP, SCHEMA, WIDTH, Coverage, Report, View, kernel_json, range_objects
from .losses import consequences, kept_although_free, remedies, structures_lost

MOST_RANGES = 1_000_000
"""Ranges of lost pages in json."""

_RULES = tuple(rule.name for rule in LEVEL_RULES)
_KEYS = ("use", "kind", "pages", "present", "absent", "allowed", *FATES[1:])
_ROW = (
    Column("use"),
    Column("kind"),
    Column("pages", "int64", "pages"),
    Column("in dump", "int64", "pages", key="present"),
    Column("absent", "int64", "pages"),
    Column("allowed", "int64", "pages", document=None),
    *(Column(name, "int64", "pages", machines=True) for name in _RULES),
    Column("undecided", "int64", "pages"),
    Column("outside", "int64", "pages", spare=1),
    Column("lost", "int64", "pages"),
)


def _pfns_shown(ranges: Sequence[Mapping[str, int]]) -> str:
    """Return each pfn of ranges for people."""
    every = (range(each["start"], each["end"]) for each in ranges)
    return " ".join(map(hex, chain.from_iterable(every)))


_LOST = (
    Column("use"),
    Column("kind"),
    Column("name"),
    Column("pages", "int64", "pages"),
    Column("first pfns", "json", key="pfns", show=_pfns_shown, spare=1),
)
_RANGE = (
    Column("start", "int64", "pfn"),
    Column("end", "int64", "pfn"),
    Column("pages", "int64", "pages"),
)
_EXTENT = (*_RANGE, Column("lost", "int64", "pages"))


class AuditRow(NamedTuple):
    """Pages of one use and kind of owner."""

    use: str
    kind: str
    fates: tuple[int, ...]
    """Pages by FATES."""

    @property
    def pages(self) -> int:
        """All pages of the row."""
        return sum(self.fates)

    def of(self, *fates: str) -> int:
        """Return the pages of these fates."""
        return sum(self.fates[FATE[name]] for name in fates)


class LostRow(NamedTuple):
    """Lost pages of one use and owner."""

    use: str
    kind: str
    name: str
    """Untrusted text."""
    pages: int
    pfns: tuple[int, ...]
    """The first of them."""


class Extent(NamedTuple):
    """A range of memory that no part of the file covers; the end is exclusive."""

    start: int
    end: int
    lost: int
    """Pages in it that the dump should have."""


@dataclass(frozen=True, slots=True)
class AuditReport(Report):
    """Pages of a core by what became of them; the counts of `rows` add up to all of memory."""

    provenance: Provenance
    layout: PageLayout | None
    """None if the uses of pages could not be found."""
    coverage: Coverage
    form: Literal["kdump", "elf"]
    level: int | None
    """The dump level; None for an ELF core of which it was not given."""
    state: State
    rows: tuple[AuditRow, ...]
    lost: tuple[LostRow, ...]
    """Owners of lost pages, those with most first."""
    uncovered: tuple[Extent, ...]
    lost_pfns: PfnSet
    """All lost pages."""
    causes: Mapping[str, int]
    """Lost pages by CAUSES."""
    unknown_tails: int = 0
    """Lost second pages of folios, of a kernel whose word for tails an old makedumpfile does not
    know."""
    by_makedumpfile: bool = True
    """Whether makedumpfile wrote the core; False if that is unknown."""

    @property
    def ranges(self) -> list[Range]:
        """The (start, end) pfns of lost pages; the first MOST_RANGES of them."""
        return PfnSet(self.lost_pfns.edges[: 2 * MOST_RANGES]).ranges()

    @property
    def total(self) -> AuditRow:
        """The sums of all rows."""
        sums = [sum(column) for column in zip(*(row.fates for row in self.rows), strict=True)]
        return AuditRow("total", "", tuple(sums or [0] * len(FATES)))

    @property
    def status(self) -> Exit:
        """The exit status: FINDING for lost pages, INCOMPLETE if that cannot be decided."""
        if self.total.of("lost"):
            return Exit.FINDING
        undecided = self.total.of("undecided") or self.coverage.unreadable
        return Exit.INCOMPLETE if undecided else Exit.COMPLETE

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            "coverage": self.coverage.to_json(),
            "form": self.form,
            "level": self.level,
            "state": self.state,
            "rows": self._table(self.rows),
            "total": dict(zip(_KEYS[2:], _cells(self.total)[2:], strict=True)),
            "lost": self._lost(self.lost),
            "causes": {name: self.causes.get(name, 0) for name in CAUSES},
            "ranges": Table("ranges", _RANGE, ((a, b, b - a) for a, b in self.ranges)),
            "ranges_left_out": max(0, len(self.lost_pfns.edges) // 2 - MOST_RANGES),
            "uncovered": self._uncovered(self.uncovered),
            "consequences": self._consequences(),
            "remedies": self._remedies(),
        }

    def tables(self) -> tuple[Table, ...]:
        """Return the pages by use and kind, and the owners of lost pages."""
        return self._table(self.rows), self._lost(self.lost)

    def view(self) -> View:
        """Return the table of uses and kinds, then what is lost, and what follows from it."""
        more = []
        if self.lost:
            title = f"Lost, by owner{_more(self.lost)}:"
            more.append((title, self._lost(self.lost[:DEFAULT_TOP])))
        if self.uncovered:
            title = f"Memory that no part of the file covers{_more(self.uncovered)}:"
            most = sorted(self.uncovered, key=lambda e: (-e.lost, e.start - e.end))[:DEFAULT_TOP]
            more.append((title, self._uncovered(sorted(most))))
        return View(
            self._for_people(),
            total=_cells(self.total),
            before=(self.provenance.describe(), f"{self._file()}.", ""),
            more=tuple(more),
            after=tuple(self._remarks()),
        )

    def _file(self) -> str:
        level = "of an unknown dump level" if self.level is None else f"of dump level {self.level}"
        form = {"kdump": "A kdump", "elf": "An ELF core"}[self.form]
        return f"{form} {level}{'' if self.state == 'whole' else f', {self.state}'}"

    def _table(self, rows: Sequence[AuditRow]) -> Table:
        return Table("rows", _ROW, [_cells(row) for row in rows])

    def _for_people(self) -> Table:
        """Return the table without columns of fates that no page has."""
        hidden = [name for name in ("undecided", "outside") if not self.total.of(name)]
        table = self._table(self.rows)
        columns = (replace(c, machines=c.machines or c.key in hidden) for c in table.columns)
        return replace(table, columns=tuple(columns))

    @staticmethod
    def _lost(rows: Sequence[LostRow]) -> Table:
        cells = (
            (*row[:4], range_objects(merge((pfn, pfn + 1) for pfn in row.pfns))) for row in rows
        )
        return Table("lost", _LOST, list(cells))

    @staticmethod
    def _uncovered(extents: Sequence[Extent]) -> Table:
        rows = [(e.start, e.end, e.end - e.start, e.lost) for e in extents]
        return Table("uncovered", _EXTENT, rows)

    def _consequences(self) -> list[str]:
        by_kind: dict[str, list[tuple[str, int]]] = {}
        for row in self.lost:
            by_kind.setdefault(row.kind, []).append((row.name, row.pages))
        if not by_kind:
            return []
        of_owners = self.coverage.missing
        if self.layout is not None:
            of_owners = structures_lost(by_kind, of_owners)
        return [*consequences(by_kind), *of_owners]

    def _remedies(self) -> list[str]:
        return [
            *remedies(
                self.causes,
                self.state,
                self.level,
                self.unknown_tails,
                by_makedumpfile=self.by_makedumpfile,
            )
        ]

    def _remarks(self) -> Iterator[str]:
        lost, undecided = self.total.of("lost"), self.total.of("undecided")
        yield ""
        if lost:
            yield from wrapped(f"Lost: {counted(lost, 'page')} that the dump should have.", WIDTH)
        elif not undecided:
            yield "No page is lost."
        if undecided:
            why = "their struct pages, which show whether the level excludes them, are missing"
            if self.form == "elf":
                why = (
                    "the level allows them to be absent only if they were filled with zeros, which "
                    "an ELF core does not show"
                )
                if self.coverage.unreadable:
                    why += ", or their struct pages are missing"
            yield from wrapped(f"Undecided: {counted(undecided, 'page')}: {why}.", WIDTH)
        for sentence in (*self._consequences(), *self._remedies(), *self._kept()):
            yield ""
            yield from wrapped(sentence, WIDTH)
        missing = () if lost else self.coverage.missing
        yield from replace(self.coverage, missing=missing).remarks()

    def _kept(self) -> Iterator[str]:
        """Yield a sentence if free pages are in the dump that its level excludes."""
        kept = sum(row.of("present") for row in self.rows if row.use == "buddy")
        if kept and self.level is not None and self.level & FREE:
            some = self.total.of("free") > 0
            yield kept_although_free(
                kept,
                in_part=some and self.form == "elf",
                one_type=not some and self.layout is not None and self.layout.scheme.one_of,
            )


def _more(rows: Sequence[object]) -> str:
    """Return text about the rows that are not shown to people."""
    hidden = len(rows) - DEFAULT_TOP
    return f" (… and {number(hidden)} more: --format json)" if hidden > 0 else ""


def _cells(row: AuditRow) -> Row:
    absent = row.pages - row.of("present", "outside")
    allowed = row.of(*_RULES)
    return (row.use, row.kind, row.pages, row.of("present"), absent, allowed, *row.fates[1:])
