"""Runs of equal pages by pfn range."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..classify import UNTYPED, Code, TypeColumns, code_name
from ..layout import PageLayout
from ..target import Provenance
from ..units import counted, number, size
from ..walk import PageBatch
from .base import SCHEMA, Column, Coverage, Table, kernel_json

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RunsReport:
    """Runs of consecutive pfns of one type and order, in pfn order.

    `starts`, `ends` (exclusive), `codes` and `orders` are (k,) int64, one entry a run.
    """

    provenance: Provenance
    layout: PageLayout
    coverage: Coverage
    starts: Integers
    ends: Integers
    codes: Integers
    orders: Integers

    def _runs(self) -> Iterator[tuple[int, int, str, int]]:
        """Yield (start, end, type, order) of each run."""
        names = {c: code_name(self.layout.scheme, c) for c in np.unique(self.codes).tolist()}
        columns = (self.starts, self.ends, self.codes, self.orders)
        for start, end, code, order in zip(*(c.tolist() for c in columns), strict=True):
            yield start, end, names[code], order

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            "coverage": self.coverage.to_json(),
            "runs": [
                {"start": start, "end": end, "type": name, "order": order, "pages": end - start}
                for start, end, name, order in self._runs()
            ],
        }

    def to_table(self) -> Table:
        """Return the tabular form; pfns in hexadecimal, end exclusive."""
        rows = [
            (start, end, name, order, end - start, (end - start) * self.layout.page_size)
            for start, end, name, order in self._runs()
        ]
        pages = int((self.ends - self.starts).sum())
        total = (
            f"{counted(len(rows), 'run')}, {counted(pages, 'page')}, "
            f"{size(pages * self.layout.page_size)}"
            if rows
            else "No page here is of that type."
        )
        return Table(
            (
                Column("start", hex, "right"),
                Column("end", hex, "right"),
                Column("type"),
                Column("order", align="right"),
                Column("pages", number, "right"),
                Column("size", size, "right", "bytes"),
            ),
            rows,
            before=(self.provenance.describe(), ""),
            after=("", total, *self.coverage.remarks()) if rows else (total,),
        )


def _batch_runs(
    batch: PageBatch, types: TypeColumns, selected: npt.NDArray[np.bool_]
) -> tuple[Integers, ...]:
    """Return (starts, ends, codes, orders) of the selected runs of one batch."""
    codes = types.code.astype(np.int64)
    codes[np.isin(codes, UNTYPED)] = Code.RESET
    kept = selected[codes]
    if batch.wanted is not None:
        kept &= batch.wanted
    key = np.where(kept, codes << 8 | types.order, -1)
    starts = np.flatnonzero(np.diff(key, prepend=-2))
    ends = np.append(starts[1:], len(key))
    chosen = key[starts] >= 0
    starts, ends = starts[chosen], ends[chosen]
    return starts + batch.first, ends + batch.first, key[starts] >> 8, key[starts] & 0xFF


def _join(runs: tuple[Integers, ...]) -> tuple[Integers, ...]:
    """Join runs that go on across the border of two batches."""
    starts, ends, codes, orders = runs
    if not len(starts):
        return runs
    begins = np.ones(len(starts), np.bool_)
    begins[1:] = (starts[1:] != ends[:-1]) | (codes[1:] != codes[:-1]) | (orders[1:] != orders[:-1])
    first = np.flatnonzero(begins)
    last = np.append(first[1:], len(starts)) - 1
    return starts[first], ends[last], codes[first], orders[first]


def find_runs(
    provenance: Provenance,
    layout: PageLayout,
    spanned: int,
    selected: npt.NDArray[np.bool_],
    columns: Iterable[tuple[PageBatch, TypeColumns]],
) -> RunsReport:
    """Fold type columns into runs; `selected` is (CODES,) bool: the codes to list.

    Untyped pages are one type here, whatever their words.
    """
    pieces: list[tuple[Integers, ...]] = [(np.empty(0, np.int64),) * 4]
    unreadable = 0
    for batch, types in columns:
        pieces.append(_batch_runs(batch, types, selected))
        wanted = slice(None) if batch.wanted is None else batch.wanted
        unreadable += int((types.code[wanted] == Code.UNREADABLE).sum())
    joined = _join(tuple(np.concatenate(column) for column in zip(*pieces, strict=True)))
    return RunsReport(provenance, layout, Coverage(spanned, unreadable), *joined)
