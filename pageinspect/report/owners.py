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
from ..units import counted, number
from .base import DEFAULT_TOP, SCHEMA, Coverage, Report, View, kernel_json
from .counters import counters_table
from .metrics import Metrics, walk_metrics
from .overlaps import Overlap, overlaps_table

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
    more_bytes: int = 0
    """Bytes in addition to whole pages: objects of slabs are smaller than pages."""


@dataclass(frozen=True, slots=True)
class OwnersReport(Report):
    """Pages by owner; `rows`, `unnamed` and `others` add up to all selected pages."""

    provenance: Provenance
    layout: PageLayout
    coverage: Coverage
    by: str
    rows: tuple[OwnerRow, ...]
    """Most pages first."""
    unnamed: tuple[int, int] = (0, 0)
    """Number of owners with fewer pages that were not named, and their pages."""
    others: int = 0
    """Pages of kinds whose names are not of what `by` asks for."""
    largest: tuple[OwnerRow, ...] = ()
    """With by="kind": the owners with most pages, other than free memory."""
    counters: tuple[CounterCheck, ...] = ()
    overlaps: tuple[Overlap, ...] = ()
    top: int | None = None
    """The maximum number of owners, 0 for all. None is 10 for people, and all in other formats."""

    @property
    def _rest(self) -> OwnerRow:
        """The pages of no owner, without the parts of them that rows have as `more_bytes`."""
        what = "(not charged)" if self.by == "cgroup" else "(other kinds)"
        more_bytes = sum(row.more_bytes for row in self.rows)
        return OwnerRow("", what, self.others, more_bytes=-more_bytes)

    @property
    def pages(self) -> int:
        """The number of pages of all rows, shown or not."""
        return sum(row.pages for row in self.rows) + self.unnamed[1] + self.others

    def _shown(self, most: int) -> tuple[tuple[OwnerRow, ...], int, OwnerRow]:
        """Return the first rows, at most `most` (0: all), and the number and sum of others."""
        rest = self.rows[most:] if most and self.by != "kind" else ()
        number = self.unnamed[0] + len(rest)
        more = _sum_of(rest, "owner", self.unnamed)
        return self.rows[: len(self.rows) - len(rest)], number, more

    def _largest(self) -> tuple[OwnerRow, ...]:
        most = DEFAULT_TOP if self.top is None else self.top
        return self.largest[: most or None]

    def document(self) -> dict[str, Any]:
        """Return the JSON document. The rows add up to the total."""
        found: dict[str, Any] = {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            "coverage": self.coverage.to_json(),
            "by": [self.by],
            "rows": self._table("rows", self._with_sums(self.top or 0)),
            "total": {"pages": self.pages, "bytes": self.pages * self.layout.page_size},
        }
        if self.by == "kind":
            found["largest"] = self._table("largest", self._largest())
        found["counters"] = counters_table(self.counters)
        found["overlaps"] = overlaps_table(self.overlaps)
        return found

    def tables(self) -> tuple[Table, ...]:
        """Return the table of rows."""
        return (self._table("rows", self._with_sums(self.top or 0)),)

    def metrics(self) -> tuple[Metrics, ...]:
        """Return the owners with most pages, as for people, and the counter checks."""
        prefix, about = f"owners_by_{self.by}", f"owners --by {self.by}"
        most = DEFAULT_TOP if self.top is None else self.top
        # The number of other owners is not part of the name: it would be another series each time.
        rows = self._table("rows", self._with_sums(most, "(more owners)"))
        return (
            Metrics(
                prefix, about, "owners", rows.only("kind", "name", "filesystem", "pages", "bytes")
            ),
            *walk_metrics(prefix, about, self.provenance, self.coverage, self.counters),
        )

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
        texts = (row.kind or _NONE, row.name or _NONE, row.file_system or _NONE)
        return (*texts, row.pages, share, self._bytes(row))

    def _bytes(self, row: OwnerRow) -> int:
        return row.pages * self.layout.page_size + row.more_bytes

    def _with_sums(self, most: int, name: str = "") -> list[OwnerRow]:
        """Return the first rows, and one for other owners and one for pages without such names.

        The row for other owners has the given name, or one with their number.
        """
        shown, number, more = self._shown(most)
        more = more._replace(name=name or more.name)
        return [*shown, *([more] if number else []), *([self._rest] if self.others else [])]

    def view(self) -> View:
        """Return the rows with sums of what is not shown, then the owners with most pages."""
        before = (self.provenance.describe(), "")
        remarks = tuple(self._remarks())
        if self.by == "kind":
            largest = self._for_people("largest", self._largest())
            besides = ", other than free" if any(row.kind == "free" for row in self.rows) else ""
            more = ((f"Owners with most pages{besides}:", largest),) if self.largest else ()
            return View(self._kinds(), total=self._total(), before=before, more=more, after=remarks)
        most = DEFAULT_TOP if self.top is None else self.top
        total = self._cells(OwnerRow("", "total", self.pages))
        if self.by != "cgroup":
            table = self._for_people("rows", self._with_sums(most))
            return View(table, total=total, before=before, after=remarks)
        sums = _by_name(self.rows)
        shown = [total for total, _ in sums[: most or None]]
        left = [total for total, _ in sums[len(shown) :]]
        rows = (*shown, *([_sum_of(left, "cgroup")] if left else []), self._rest)
        splits = {
            i: [self._cells(row._replace(kind="", name=f"- {row.kind}")) for row in parts]
            for i, (_, parts) in enumerate(sums[: len(shown)])
        }
        return View(self._for_people("rows", rows), splits, total, before, remarks)

    def _kinds(self) -> Table:
        """Return the table of kinds for people, with the verdict of the counter check of each."""
        columns = (_KIND, _PAGES, _SHARE, _SIZE, replace(_COUNTER, machines=not self.counters))
        rows = []
        for row in self.rows:
            kind, _name, _where, *numbers = self._cells(row)
            rows.append((kind, *numbers, self._verdict(row) or _NONE))
        return Table("rows", columns, rows)

    def _total(self) -> Row:
        kind, _name, _where, *numbers = self._cells(OwnerRow("total", "", self.pages))
        return (kind, *numbers, _NONE)

    def _verdict(self, row: OwnerRow) -> str:
        """Return the worst verdict of the counter checks of a kind, "" without one.

        A check may leave out pages of the kind: then the number that it compares is before it.
        """
        checks = [check for check in self.counters if row.kind in kinds_of(check.uses)]
        if not checks:
            return ""
        worst = min(checks, key=lambda check: _WORST.index(check.verdict))
        alone = len(checks) == 1 and kinds_of(worst.uses) == [row.kind]
        which = "" if not alone or worst.counted == row.pages else f"{number(worst.counted)} "
        return which + worst.verdict

    def _remarks(self) -> Iterable[str]:
        if any(row.more_bytes for row in self.rows):
            yield ""
            yield (
                "A slab has objects of several cgroups: its size is that of the objects, and its "
                "pages are whole pages of them."
            )
        if self.counters and self.by == "kind":
            yield ""
            yield from lines_of(self.counters)
        yield from self.coverage.remarks()


def _by_name(rows: Iterable[OwnerRow]) -> list[tuple[OwnerRow, list[OwnerRow]]]:
    """Return the sum of the rows of each name, with these rows; most pages first."""
    parts: dict[str, list[OwnerRow]] = {}
    for row in rows:
        parts.setdefault(row.name, []).append(row)
    sums = [(_added(found, name), found) for name, found in parts.items()]
    return sorted(sums, key=lambda each: (-each[0].pages, -each[0].more_bytes, each[0].name))


def _sum_of(rows: Sequence[OwnerRow], what: str, unnamed: tuple[int, int] = (0, 0)) -> OwnerRow:
    """Return the row for rows that are not shown, and for owners that are not named."""
    number, pages = unnamed
    total = _added(rows, f"({counted(number + len(rows), f'more {what}')})")
    return total._replace(pages=total.pages + pages)


def _added(rows: Iterable[OwnerRow], name: str) -> OwnerRow:
    found = list(rows)
    return OwnerRow(
        "",
        name,
        sum(row.pages for row in found),
        more_bytes=sum(row.more_bytes for row in found),
    )


def kinds_of(names: Sequence[str]) -> list[str]:
    """Return the kinds with these names, and those that own pages of uses with these names."""
    return [
        kind.name for kind in KINDS if kind.name in names or not set(names).isdisjoint(kind.owns)
    ]
