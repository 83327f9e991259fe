# SPDX-License-Identifier: GPL-2.0-only
"""The report of `summary`: pages, folios and bytes by one or more dimensions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..analysis.counter_check import CounterCheck
from ..analysis.counter_check import remarks as lines_of
from ..classify import UNTYPED, CountedPages
from ..model.layout import PageLayout
from ..model.memory_map import MemoryMap
from ..model.provenance import Provenance
from ..model.table import Absent, Column, Row, Table
from ..units import counted
from .base import SCHEMA, Coverage, Report, View, coverage_of, kernel_json
from .counters import counters_table
from .dimensions import Dimension, Owners, dimensions_of, type_value
from .metrics import Metrics, walk_metrics
from .selection import Selection

_MOST_ZONES = 1 << 8
"""Upper bound of zone numbers in page flags."""


_NOT_APPLICABLE = (Absent.NOT_APPLICABLE,)
_VALUE = Column("value", absent=_NOT_APPLICABLE)
_COLUMNS = (
    Column("pages", "int64", "pages"),
    Column("%", "float64", "percent", "percent", document=None, spare=1),
    Column("folios", "int64", "count", absent=_NOT_APPLICABLE, spare=2),
    Column("size", "int64", "bytes", "bytes", spare=3),
)
_SPLIT = Column(
    "split",
    "map[string,int64]",
    "pages",
    absent=_NOT_APPLICABLE,
    optional=True,
    machines=True,
)


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One row: its name in each dimension, and its numbers of pages and folios.

    If rows are types, `value` is the kernel's value of the type.
    """

    key: tuple[str, ...]
    pages: int
    folios: int | None
    """None in splits and in the total, where folios are not counted."""
    value: str | None = None
    split: tuple[tuple[str, int], ...] = ()
    """For the row "untyped": (name, pages) by what their page_type words contain."""

    def __add__(self, other: "SummaryRow") -> "SummaryRow":
        return replace(
            self,
            pages=self.pages + other.pages,
            folios=(self.folios or 0) + (other.folios or 0),
            split=self.split + other.split,
        )


@dataclass(frozen=True, slots=True)
class SummaryReport(Report):
    """Counted pages; without a selection the rows add up to `coverage.spanned`."""

    provenance: Provenance
    layout: PageLayout
    coverage: Coverage
    by: tuple[str, ...]
    rows: tuple[SummaryRow, ...]
    freeing: int | None
    """Pages that are being freed with a type set; None if this is unavailable."""
    counters: tuple[CounterCheck, ...] = ()
    """Comparisons of totals with the kernel's counters."""
    remarks: tuple[str, ...] = ()
    """Sentences that explain rows."""

    @property
    def pages(self) -> int:
        """The number of pages of all rows."""
        return sum(row.pages for row in self.rows)

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            "coverage": self.coverage.to_json(),
            "by": list(self.by),
            "rows": self._table(),
            "total": {"pages": self.pages, "bytes": self.pages * self.layout.page_size},
            "freeing": self.freeing,
            "counters": counters_table(self.counters),
            "remarks": list(self.remarks),
        }

    def tables(self) -> tuple[Table, ...]:
        """Return the table of rows."""
        return (self._table(),)

    def metrics(self) -> tuple[Metrics, ...]:
        """Return the rows and the counter checks."""
        prefix, about = f"summary_by_{'_'.join(self.by)}", f"summary --by {','.join(self.by)}"
        rows = self._table().only(*self.by, "pages", "folios", "bytes")
        return (
            Metrics(prefix, about, "summary", rows),
            *walk_metrics(prefix, about, self.provenance, self.coverage, self.counters),
        )

    def _table(self) -> Table:
        by_type = self.by == ("type",)
        key = "name" if len(self.by) == 1 else "key[]"
        columns = (
            *(Column(name, document=key) for name in self.by),
            *((_VALUE,) if by_type else ()),
            *_COLUMNS,
            *((_SPLIT,) if by_type else ()),
        )
        return Table("rows", columns, [self._cells(row) for row in self.rows])

    def view(self) -> View:
        """Return the rows, with the split of untyped pages, and the total."""
        splits = {
            i: [self._cells(SummaryRow((f"- {name}",), pages, None)) for name, pages in row.split]
            for i, row in enumerate(self.rows)
        }
        return View(
            self._table(),
            splits,
            self._cells(SummaryRow(("total", *[""] * (len(self.by) - 1)), self.pages, None)),
            before=(self.provenance.describe(), ""),
            after=(
                *(("", *self.remarks) if self.remarks else ()),
                *self._freeing_remark(),
                *self._counters_remark(),
                *self.coverage.remarks(),
                *self._differs_remark(),
            ),
        )

    def _differs_remark(self) -> tuple[str, ...]:
        n = sum(check.verdict == "differs" for check in self.counters)
        if not n:
            return ()
        differ = "A total differs from the kernel's counter" if n == 1 else f"{n} totals differ"
        return ("", f"{differ}: run `pageinspect check` on the same kernel.")

    def _counters_remark(self) -> tuple[str, ...]:
        return ("", *lines_of(self.counters)) if self.counters else ()

    def _freeing_remark(self) -> tuple[str, ...]:
        if not self.freeing:
            return ()
        pages = counted(self.freeing, "page", "are")
        return ("", f"{pages} being freed with a type set: see list --freeing.")

    def _cells(self, row: SummaryRow) -> Row:
        none = Absent.NOT_APPLICABLE
        share = round(100 * row.pages / self.coverage.spanned, 4)
        folios = none if row.folios is None else row.folios
        cells = (row.pages, share, folios, row.pages * self.layout.page_size)
        if self.by != ("type",):
            return (*row.key, *cells)
        return (*row.key, row.value or none, *cells, dict(row.split) or none)


@dataclass(slots=True)
class PageCounts:
    """Counts of some pages: [pages, folios] by combined key, and two totals of pages."""

    by_key: dict[int, list[int]] = field(default_factory=dict)
    freeing: int = 0
    unreadable: int = 0

    def add(self, other: "PageCounts") -> None:
        """Add the counts of other pages."""
        for key, numbers in other.by_key.items():
            mine = self.by_key.setdefault(key, [0, 0])
            for column, n in enumerate(numbers):
                mine[column] += n
        self.freeing += other.freeing
        self.unreadable += other.unreadable


class _KeyCounter:
    """Counts pages and folios by the combined key of several dimensions."""

    def __init__(self, dimensions: Sequence[Dimension], layout: PageLayout) -> None:
        self._dimensions = dimensions
        self._sizes = [dimension.size(layout) for dimension in dimensions]
        self.counts = PageCounts()

    def add(self, pages: CountedPages, selected: Any) -> None:
        key = np.zeros(len(pages), np.int64)
        for dimension, n in zip(self._dimensions, self._sizes, strict=True):
            key = key * n + dimension.keys(pages)
        lengths, folios = pages.lengths, pages.folios
        if selected is not None:
            key, lengths, folios = key[selected], lengths[selected], folios[selected]
        keys: Any = None
        if len(self._sizes) > 1:
            keys, key = np.unique(key, return_inverse=True)
        for column, weights in enumerate((lengths, folios)):
            numbers = np.bincount(key, weights)
            values = np.flatnonzero(numbers)
            named = values if keys is None else keys[values]
            for value, n in zip(named.tolist(), numbers[values].tolist(), strict=True):
                self.counts.by_key.setdefault(value, [0, 0])[column] += int(n)

    def keys(self, combined: int) -> tuple[int, ...]:
        """Split a combined key into the key of each dimension."""
        keys = []
        for n in reversed(self._sizes):
            combined, key = divmod(combined, n)
            keys.append(key)
        return tuple(reversed(keys))


def _rows(
    counts: PageCounts, by: Sequence[str], layout: PageLayout, memory_map: MemoryMap
) -> tuple[SummaryRow, ...]:
    """Return the sorted rows; keys with the same name, as of untyped pages, are one row."""
    dimensions = dimensions_of(by)
    counter = _KeyCounter(dimensions, layout)
    rows: dict[tuple[str, ...], SummaryRow] = {}
    places: dict[tuple[str, ...], tuple[int, ...]] = {}
    by_type = list(by) == ["type"]
    for combined, (pages, folios) in sorted(counts.by_key.items()):
        keys = counter.keys(combined)
        key = tuple(d.label(layout, memory_map, k) for d, k in zip(dimensions, keys, strict=True))
        value = type_value(layout, keys[0]) if by_type else None
        split: tuple[tuple[str, int], ...] = ()
        if by_type and keys[0] in UNTYPED:
            split = ((UNTYPED[keys[0]], pages),)
        row = SummaryRow(key, pages, folios, value, split)
        rows[key] = rows[key] + row if key in rows else row
        places[key] = tuple(d.rank(layout, k) for d, k in zip(dimensions, keys, strict=True))
    return tuple(rows[key] for key in sorted(rows, key=places.__getitem__))


def count(
    layout: PageLayout,
    selection: Selection,
    by: Sequence[str],
    columns: Iterable[CountedPages],
    owners: Owners | None = None,
) -> PageCounts:
    """Count the selected pages of the batches by the dimensions named in `by`.

    `owners` returns the kind of owner of each row, for the dimension owner.
    """
    counter = _KeyCounter(dimensions_of(by, owners), layout)
    for pages in columns:
        selected = selection.of(pages)
        counter.add(pages, selected)
        freeing = pages.freeing if selected is None else pages.freeing & selected
        counter.counts.freeing += pages.count(freeing)
        counter.counts.unreadable += pages.unreadable
    return counter.counts


def summarise(
    provenance: Provenance,
    layout: PageLayout,
    memory_map: MemoryMap,
    selection: Selection,
    by: Sequence[str],
    counts: PageCounts,
) -> SummaryReport:
    """Return the report for the result of count() with the same arguments."""
    rows = _rows(counts, by, layout, memory_map)
    coverage = coverage_of(
        provenance, layout, selection.spanned, counts.unreadable, selection.missing
    )
    freeing = None if layout.frozen is None else counts.freeing
    remarks = _on_zones(memory_map, by, rows)
    return SummaryReport(provenance, layout, coverage, tuple(by), rows, freeing, (), remarks)


def _on_zones(
    memory_map: MemoryMap, by: Sequence[str], rows: Iterable[SummaryRow]
) -> tuple[str, ...]:
    """Return remarks on rows whose zone number does not belong to a zone of this kernel."""
    if "zone" not in by:
        return ()
    shown = {row.key[by.index("zone")] for row in rows}
    numbers = {memory_map.zone_name(n): n for n in range(_MOST_ZONES)}
    return tuple(
        f"{name}: {what}"
        for name, n in numbers.items()
        if name in shown and (what := memory_map.explain_zone_number(n))
    )
