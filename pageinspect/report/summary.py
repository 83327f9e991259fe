"""The summary: how many pages, folios and bytes of each type."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..classify import CODES, UNTYPED, Code, TypeColumns, code_name
from ..layout import PageLayout
from ..schemes import SLOTS
from ..target import Provenance
from ..units import number, percent, size
from ..walk import PageBatch
from .base import SCHEMA, Cell, Column, Coverage, Table, kernel_json


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """One type: its name, the kernel's value for it, and how many pages and folios it has."""

    name: str
    value: str | None
    pages: int
    folios: int
    split: tuple[tuple[str, int], ...] = ()
    """What the pages of the row "untyped" are by their own words: (name, pages)."""

    def to_json(self, page_size: int) -> dict[str, Any]:
        """Return the JSON form."""
        row: dict[str, Any] = {
            "name": self.name,
            "value": self.value,
            "pages": self.pages,
            "folios": self.folios,
            "bytes": self.pages * page_size,
        }
        return row | {"split": dict(self.split)} if self.split else row


@dataclass(frozen=True, slots=True)
class SummaryReport:
    """The pages of a kernel by type; the rows add up to the pfns spanned."""

    provenance: Provenance
    layout: PageLayout
    coverage: Coverage
    rows: tuple[SummaryRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        page_size = self.layout.page_size
        return {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            "coverage": self.coverage.to_json(),
            "by": ["type"],
            "rows": [row.to_json(page_size) for row in self.rows],
            "total": {"pages": self.coverage.spanned, "bytes": self.coverage.spanned * page_size},
        }

    def to_table(self) -> Table:
        """Return the tabular form."""
        columns = (
            Column("type"),
            Column("value"),
            Column("pages", number, "right"),
            Column("%", percent, "right", "percent"),
            Column("folios", number, "right"),
            Column("size", size, "right", "bytes"),
        )
        rows = [self._cells(row.name, row.value, row.pages, row.folios) for row in self.rows]
        splits = {
            i: [self._cells(f"- {name}", None, pages, None) for name, pages in row.split]
            for i, row in enumerate(self.rows)
        }
        total = self._cells("total", None, self.coverage.spanned, None)
        before = (self.provenance.describe(), "")
        return Table(columns, rows, splits, total, before, self.coverage.remarks())

    def _cells(
        self, name: str, value: str | None, pages: int, folios: int | None
    ) -> tuple[Cell, ...]:
        share = 100 * pages / self.coverage.spanned
        return (name, value, pages, share, folios, pages * self.layout.page_size)


def _value(layout: PageLayout, code: int) -> str | None:
    """Return the kernel's value for the type of a code, or what marks it where it is no type."""
    if code < SLOTS:
        return layout.scheme.slot_value(code)
    marker = {Code.SLAB: layout.slab, Code.HUGETLB: layout.hugetlb}.get(Code(code))
    return marker.kind if marker else None


def summarise(
    provenance: Provenance,
    layout: PageLayout,
    spanned: int,
    columns: Iterable[tuple[PageBatch, TypeColumns]],
) -> SummaryReport:
    """Fold type columns into a SummaryReport; `spanned` is the number of pfns asked for."""
    pages = np.zeros(CODES, np.int64)
    folios = np.zeros(CODES, np.int64)
    for batch, types in columns:
        wanted = slice(None) if batch.wanted is None else batch.wanted
        code = types.code[wanted]
        pages += np.bincount(code, minlength=CODES)
        folios += np.bincount(code[types.head[wanted]], minlength=CODES)
    rows = [
        SummaryRow(
            code_name(layout.scheme, code),
            _value(layout, code),
            int(pages[code]),
            int(folios[code]),
        )
        for code in np.flatnonzero(pages).tolist()
        if code not in UNTYPED
    ]
    untyped = [(code.name.lower(), int(pages[code])) for code in UNTYPED if pages[code]]
    rows.append(
        SummaryRow(
            "untyped",
            None,
            sum(count for _, count in untyped),
            int(folios[list(UNTYPED)].sum()),
            tuple(untyped),
        )
    )
    return SummaryReport(
        provenance, layout, Coverage(spanned, int(pages[Code.UNREADABLE])), tuple(rows)
    )
