# SPDX-License-Identifier: GPL-2.0-only
"""The report of `owners`: pages by kind of owner, by owner, or by cgroup."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ..analysis.counter_check import CounterCheck
from ..analysis.counter_check import remarks as lines_of
from ..model.layout import PageLayout
from ..model.provenance import Provenance
from ..model.table import Absent, Column, Row, Table
from ..owners.table import KINDS
from ..units import counted
from .base import SCHEMA, Coverage, Report, View, kernel_json
from .counters import counters_table

BY = ("kind", "name", "cache", "file", "cgroup", "caller", "task", "module")
"""What pages can be counted by."""

_NONE = Absent.NOT_APPLICABLE
_KIND = Column("kind", absent=(_NONE,))
_NAME = Column("name", absent=(_NONE,))
_FILE_SYSTEM = Column("file system", key="filesystem", absent=(_NONE,), optional=True, spare=4)
_PAGES = Column("pages", "int64", "pages")
_SHARE = Column("%", "float64", "percent", "percent", document=None, spare=1)
_SIZE = Column("size", "int64", "bytes", "bytes")
_COUNTER = Column("counter", document=None, absent=(_NONE,), spare=2)
_OVERLAPS = (
    Column("kind"),
    Column("other"),
    Column("pages", "int64", "pages"),
)
_WORST = ("differs", "explained", "verified")


class OwnerRow(NamedTuple):
    """The pages of one kind, owner or cgroup."""

    kind: str
    """Empty in sums over several kinds."""
    name: str
    """Untrusted text; empty in rows of kinds, and in sums."""
    pages: int
    file_system: str = ""
    """For files: the type of the file system and its device."""


class Overlap(NamedTuple):
    """Pages of one kind that another kind claims as well."""

    kind: str
    other: str
    pages: int


@dataclass(frozen=True, slots=True)
class OwnersReport(Report):
    """Pages by owner; `rows`, `others` and `more` add up to all selected pages."""

    provenance: Provenance
    layout: PageLayout
    coverage: Coverage
    by: str
    rows: tuple[OwnerRow, ...]
    """Most pages first."""
    more: tuple[int, int]
    """Number of rows that are not shown, and their pages."""
    others: int
    """Pages of kinds whose names are not of what `by` asks for."""
    largest: tuple[OwnerRow, ...]
    """With by="kind": the owners with most pages."""
    counters: tuple[CounterCheck, ...] = ()
    overlaps: tuple[Overlap, ...] = ()

    @property
    def pages(self) -> int:
        """The number of pages of all rows, shown or not."""
        return sum(row.pages for row in self.rows) + self.more[1] + self.others

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        size, (rows, pages) = self.layout.page_size, self.more
        found: dict[str, Any] = {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            "coverage": self.coverage.to_json(),
            "by": [self.by],
            "rows": self._table("rows", self.rows),
            "more": {"rows": rows, "pages": pages, "bytes": pages * size},
            "others": {"pages": self.others, "bytes": self.others * size},
            "total": {"pages": self.pages, "bytes": self.pages * size},
        }
        if self.by == "kind":
            found["largest"] = self._table("largest", self.largest)
        found["counters"] = counters_table(self.counters)
        found["overlaps"] = self._overlaps()
        return found

    def tables(self) -> tuple[Table, ...]:
        """Return the table of rows."""
        return (self._table("rows", self.rows),)

    def _overlaps(self) -> Table:
        return Table("overlaps", _OVERLAPS, list(self.overlaps))

    def _table(self, name: str, rows: Iterable[OwnerRow]) -> Table:
        columns = (_KIND, _NAME, _FILE_SYSTEM, _PAGES, _SHARE, _SIZE)
        return Table(name, columns, [self._cells(row) for row in rows])

    def _for_people(self, name: str, rows: Sequence[OwnerRow]) -> Table:
        """Return the table without columns that no row has a value in."""
        table = self._table(name, rows)
        used = [any(row[i] is not _NONE for row in table.rows) for i in range(len(table.columns))]
        hidden = (replace(c, machines=not u) for c, u in zip(table.columns, used, strict=True))
        return replace(table, columns=tuple(hidden))

    def _cells(self, row: OwnerRow) -> Row:
        share = round(100 * row.pages / self.coverage.spanned, 4) if self.coverage.spanned else 0.0
        size = row.pages * self.layout.page_size
        texts = (row.kind or _NONE, row.name or _NONE, row.file_system or _NONE)
        return (*texts, row.pages, share, size)

    def view(self) -> View:
        """Return the rows with sums of what is not shown, then the owners with most pages."""
        sums = []
        if self.more[0]:
            rows, pages = self.more
            sums.append(OwnerRow("", f"({counted(rows, 'more row')})", pages))
        if self.others:
            what = "(not charged)" if self.by == "cgroup" else "(other kinds)"
            sums.append(OwnerRow("", what, self.others))
        if self.by == "kind":
            verdicts = self._verdicts()
            counter = replace(_COUNTER, machines=not verdicts)
            columns = (_KIND, _PAGES, _SHARE, _SIZE, counter)
            pick = [self._cells(row) for row in (*self.rows, OwnerRow("total", "", self.pages))]
            cells = [
                (kind, *numbers, verdicts.get(str(kind), _NONE))
                for kind, _name, _where, *numbers in pick
            ]
            table, total = Table("rows", columns, cells[:-1]), cells[-1]
        else:
            table = self._for_people("rows", (*self.rows, *sums))
            total = self._cells(OwnerRow("", "total", self.pages))
        return View(
            table,
            total=total,
            before=(self.provenance.describe(), ""),
            more=self._largest_owners(),
            after=tuple(self._remarks()),
        )

    def _largest_owners(self) -> tuple[tuple[str, Table], ...]:
        if not self.largest:
            return ()
        return (("Owners with most pages:", self._for_people("largest", self.largest)),)

    def _verdicts(self) -> dict[str, str]:
        """Return for each kind the worst verdict of the counter checks that it is part of."""
        found: dict[str, str] = {}
        for verdict in reversed(_WORST):
            for check in self.counters:
                if check.verdict == verdict:
                    found |= dict.fromkeys(kinds_of(check.uses), verdict)
        return found

    def _remarks(self) -> Iterable[str]:
        if self.counters and self.by == "kind":
            yield ""
            yield from lines_of(self.counters)
        yield from self.coverage.remarks()


def kinds_of(names: Sequence[str]) -> list[str]:
    """Return the kinds with these names, and those that own pages of uses with these names."""
    return [
        kind.name for kind in KINDS if kind.name in names or not set(names).isdisjoint(kind.owns)
    ]
