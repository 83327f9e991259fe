"""Runs of equal pages by pfn range."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..classify import UNTYPED, Code, Pages, code_name, use_name
from ..layout import PageLayout
from ..target import Provenance
from ..units import counted, number, size
from .base import SCHEMA, Column, Coverage, Table, kernel_json
from .selection import Selection

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RunsReport:
    """Runs of consecutive pfns of one use, type and order, in pfn order.

    `runs` is (5, k) int64: start, end (exclusive), use, type code and order of each run.
    """

    provenance: Provenance
    layout: PageLayout
    coverage: Coverage
    runs: Integers

    def _named(self) -> Iterator[tuple[int, int, str, str, int]]:
        """Yield (start, end, use, type, order) of each run."""
        uses = {u: use_name(self.layout, u) for u in np.unique(self.runs[2]).tolist()}
        types = {c: code_name(self.layout.scheme, c) for c in np.unique(self.runs[3]).tolist()}
        for start, end, use, code, order in zip(*self.runs.tolist(), strict=True):
            yield start, end, uses[use], types[code], order

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        names = ("start", "end", "use", "type", "order")
        return {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            "coverage": self.coverage.to_json(),
            "runs": [
                dict(zip(names, run, strict=True)) | {"pages": run[1] - run[0]}
                for run in self._named()
            ],
        }

    def to_table(self) -> Table:
        """Return the tabular form; pfns in hexadecimal, end exclusive."""
        page_size = self.layout.page_size
        rows = [(*run, run[1] - run[0], (run[1] - run[0]) * page_size) for run in self._named()]
        pages = int((self.runs[1] - self.runs[0]).sum())
        total = (
            f"{counted(len(rows), 'run')}, {counted(pages, 'page')}, {size(pages * page_size)}"
            if rows
            else "No page here is of that kind."
        )
        return Table(
            (
                Column("start", hex, "right"),
                Column("end", hex, "right"),
                Column("use"),
                Column("type"),
                Column("order", align="right"),
                Column("pages", number, "right"),
                Column("size", size, "right", "bytes"),
            ),
            rows,
            before=(self.provenance.describe(), ""),
            after=("", total, *self.coverage.remarks()) if rows else (total,),
        )


def _batch_runs(pages: Pages, selected: npt.NDArray[np.bool_] | None) -> Integers:
    """Return the selected runs of one batch."""
    codes = pages.code.astype(np.int64)
    codes[np.isin(codes, UNTYPED)] = Code.RESET
    key = pages.use.astype(np.int64) << 32 | codes << 8 | pages.order
    if selected is not None:
        key[~selected] = -1
    starts = np.flatnonzero(np.diff(key, prepend=-2))
    ends = np.append(starts[1:], len(key))
    chosen = key[starts] >= 0
    starts, ends = starts[chosen], ends[chosen]
    key, first = key[starts], pages.batch.first
    return np.stack((starts + first, ends + first, key >> 32, key >> 8 & 0xFFFFFF, key & 0xFF))


def _join(runs: Integers) -> Integers:
    """Join runs that go on across the border of two batches."""
    if not runs.shape[1]:
        return runs
    goes_on = (runs[0, 1:] == runs[1, :-1]) & (runs[2:, 1:] == runs[2:, :-1]).all(axis=0)
    first = np.flatnonzero(np.append(True, ~goes_on))
    joined = runs[:, first]
    joined[1] = runs[1, np.append(first[1:], runs.shape[1]) - 1]
    return joined


def find_runs(
    provenance: Provenance,
    layout: PageLayout,
    selection: Selection,
    columns: Iterable[Pages],
) -> RunsReport:
    """Fold columns into the runs of the selected pages.

    Untyped pages are one type here, whatever their words.
    """
    pieces = [np.empty((5, 0), np.int64)]
    unreadable = 0
    for pages in columns:
        pieces.append(_batch_runs(pages, selection.of(pages)))
        unreadable += pages.unreadable
    runs = _join(np.concatenate(pieces, axis=1))
    return RunsReport(provenance, layout, Coverage(selection.spanned, unreadable), runs)
