# SPDX-License-Identifier: GPL-2.0-only
"""Listings by pfn: runs of equal pages, or every page. Rows are produced while pages are read."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ..classify import UNTYPED, Code, CountedPages, Pages, code_name, use_name
from ..model.layout import PageLayout
from ..model.provenance import Provenance
from ..model.table import Absent, Column, Row, Table
from ..units import counted, number, size
from .base import SCHEMA, Coverage, Report, View, coverage_of, kernel_json
from .selection import Selection

Integers = npt.NDArray[np.int64]

_UNREADABLE = (Absent.UNREADABLE,)
_BLOCK = 4096
"""Rows that are converted to Python objects at a time, to bound the memory that they take."""


class Listing(Report):
    """A listing of selected pages, one row at a time. All untyped pages have the type "untyped".

    It can be rendered as often as `parts` can be iterated. `coverage` is valid after all rows were
    read.
    """

    name: str
    """The name of the table."""

    def __init__(
        self,
        provenance: Provenance,
        layout: PageLayout,
        selection: Selection,
        parts: Iterable[Any],
    ) -> None:
        self.provenance = provenance
        self.layout = layout
        self.selection = selection
        self._parts = parts
        self._rows = self._pages = self._unreadable = 0
        self._use_name = cache(lambda use: use_name(layout, use))
        self._type_name = cache(lambda code: code_name(layout.scheme, code))

    @property
    def coverage(self) -> Coverage:
        """The Coverage of the walk."""
        selection = self.selection
        return coverage_of(
            self.provenance, self.layout, selection.spanned, self._unreadable, selection.missing
        )

    def _coverage_json(self) -> dict[str, Any]:
        return self.coverage.to_json()

    @property
    @abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """The columns of the table."""

    @property
    def _pfn_width(self) -> int:
        return len(hex(self.selection.last))

    @abstractmethod
    def _items(self, parts: Iterable[Any]) -> Iterator[Row]:
        """Yield the cells of each row."""

    @abstractmethod
    def _pages_of(self, row: Row) -> int:
        """Return the number of pages of a row."""

    @abstractmethod
    def _summary(self) -> str:
        """Return a line with the number of rows and pages."""

    def _counting(self) -> Iterator[Any]:
        for part in self._parts:
            yield part
            self._unreadable += part.unreadable

    def _listed(self) -> Iterator[Row]:
        self._rows = self._pages = self._unreadable = 0
        for item in self._items(self._counting()):
            self._rows += 1
            self._pages += self._pages_of(item)
            yield item

    def _table(self) -> Table:
        return Table(self.name, self.columns, self._listed())

    def document(self) -> dict[str, Any]:
        """Return the JSON document; the coverage comes after the rows."""
        return {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            self.name: self._table(),
            "coverage": self._coverage_json,
        }

    def tables(self) -> tuple[Table, ...]:
        """Return the rows."""
        return (self._table(),)

    def view(self) -> View:
        """Return the rows; pfns in hexadecimal, end exclusive."""
        before = (self.provenance.describe(), "")
        return View(self._table(), before=before, after=self._remarks)

    def _remarks(self) -> tuple[str, ...]:
        below = ("",) if self._rows else ()
        return (*below, self._summary(), *self.coverage.remarks())


@dataclass(frozen=True, slots=True)
class Runs:
    """The runs of a part of a walk, (5, k) int64: start, end, use, type code, order."""

    runs: Integers
    unreadable: int


class RunsListing(Listing):
    """Runs of consecutive pfns of one use, type and order; `parts` are Runs, in order."""

    name = "runs"

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns, wide enough for the largest pfn and the longest possible run."""
        pfn, pages = self._pfn_width, len(number(self.selection.spanned))
        return (
            Column("start", "uint64", "pfn", width=pfn),
            Column("end", "uint64", "pfn", width=pfn),
            Column("use", width=13),
            Column("type", width=13),
            Column("order", "int64", "order", width=5),
            Column("pages", "int64", "pages", width=pages),
            Column("size", "int64", "bytes", "bytes", document=None, width=9, spare=1),
        )

    def _items(self, parts: Iterable[Runs]) -> Iterator[Row]:
        page_size = self.layout.page_size
        for start, end, use, code, order in _joined(parts):
            pages = end - start
            names = self._use_name(use), self._type_name(code)
            yield start, end, *names, order, pages, pages * page_size

    def _pages_of(self, row: Sequence[Any]) -> int:
        start, end, *_ = row
        return int(end - start)

    def _summary(self) -> str:
        if not self._rows:
            return "No page matches."
        bytes_ = size(self._pages * self.layout.page_size)
        return f"{counted(self._rows, 'run')}, {counted(self._pages, 'page')}, {bytes_}"


@dataclass(frozen=True, slots=True)
class PageEntries:
    """Pages of a part of a walk, as columns: pfn, use, type code, word, refcount, order, flags."""

    columns: tuple[npt.NDArray[np.integer], ...]
    unreadable: int

    def rows(self) -> Iterator[tuple[int, ...]]:
        """Yield the values of each page; _BLOCK pages at a time are Python objects."""
        for start in range(0, len(self.columns[0]) if self.columns else 0, _BLOCK):
            some = (column[start : start + _BLOCK].tolist() for column in self.columns)
            yield from zip(*some, strict=True)


class PagesListing(Listing):
    """Every page, one row each; `parts` are PageEntries, in order."""

    name = "pages"

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns; the last one, flags, has no fixed width."""
        return (
            Column("pfn", "uint64", "pfn", width=self._pfn_width),
            Column("use", width=13),
            Column("type", width=13),
            Column("word", absent=_UNREADABLE, width=2 + self.layout.scheme.word_bits // 4),
            Column(
                "refcount",
                "int64",
                "count",
                absent=(Absent.UNREADABLE, Absent.UNAVAILABLE),
                show=str,
                width=11,
            ),
            Column("order", "int64", "order", absent=_UNREADABLE, width=5),
            Column("flags", "list[string]", width=0),
        )

    def _items(self, parts: Iterable[PageEntries]) -> Iterator[Row]:
        flag_names = cache(self._flag_names)
        unreadable = Absent.UNREADABLE
        counted = self.layout.refcount is not None
        for part in parts:
            for pfn, use, code, word, refcount, order, flags in part.rows():
                read = code != Code.UNREADABLE
                yield (
                    pfn,
                    self._use_name(use),
                    self._type_name(code),
                    self.layout.scheme.hex(word) if read else unreadable,
                    (refcount if counted else Absent.UNAVAILABLE) if read else unreadable,
                    order if read else unreadable,
                    flag_names(flags),
                )

    def _flag_names(self, flags: int) -> tuple[str, ...]:
        return tuple(name for name, bit in self.layout.flag_bits if flags >> bit & 1)

    def _pages_of(self, _row: Row) -> int:
        return 1

    def _summary(self) -> str:
        return counted(self._pages, "page") if self._pages else "No page matches."


def _batch_runs(pages: CountedPages, selected: npt.NDArray[np.bool_] | None) -> Integers:
    """Return the selected runs of a batch, (5, k): start, end, use, type code, order."""
    codes = pages.code.astype(np.int64)
    codes[np.isin(codes, list(UNTYPED))] = Code.RESET
    key = pages.use.astype(np.int64) << 32 | codes << 8 | pages.order
    if selected is not None:
        key[~selected] = -1
    ends = pages.pfns + pages.lengths
    begins = np.ones(len(key), np.bool_)
    begins[1:] = (key[1:] != key[:-1]) | (pages.pfns[1:] != ends[:-1])
    starts = np.flatnonzero(begins)
    pfns, ends = pages.pfns[starts], ends[np.append(begins[1:], values=True)[: len(begins)]]
    key = key[starts]
    chosen = key >= 0
    key, pfns, ends = key[chosen], pfns[chosen], ends[chosen]
    return np.stack((pfns, ends, key >> 32, key >> 8 & 0xFFFFFF, key & 0xFF))


def runs_of(selection: Selection, batches: Iterable[CountedPages]) -> Runs:
    """Return the selected runs of some batches."""
    runs, unreadable = [np.empty((5, 0), np.int64)], 0
    for pages in batches:
        runs.append(_batch_runs(pages, selection.of(pages)))
        unreadable += pages.unreadable
    return Runs(np.concatenate(runs, axis=1), unreadable)


def entries_of(selection: Selection, batches: Iterable[Pages]) -> PageEntries:
    """Return the selected pages of some batches, which have one row per page."""
    parts, unreadable = [], 0
    for pages in batches:
        known = np.uint64(sum(1 << bit for _, bit in pages.layout.flag_bits))
        selected = selection.of(pages)
        index = np.arange(len(pages)) if selected is None else np.flatnonzero(selected)
        parts.append(
            (
                index + pages.batch.first,
                pages.use[index],
                pages.code[index],
                pages.word[index],
                pages.refcount[index],
                pages.order[index],
                pages.own_flags[index] & known,
            )
        )
        unreadable += pages.unreadable
    return PageEntries(tuple(map(np.concatenate, zip(*parts, strict=True))), unreadable)


def _each(runs: Integers) -> Iterator[list[int]]:
    """Yield the columns of an array; _BLOCK columns at a time are lists."""
    for start in range(0, runs.shape[1], _BLOCK):
        yield from runs[:, start : start + _BLOCK].T.tolist()


def _joined(parts: Iterable[Runs]) -> Iterator[list[int]]:
    """Yield [start, end, use, type code, order] of each run; runs are joined across parts."""
    last: list[int] | None = None
    for part in parts:
        for run in _each(part.runs):
            if last is None:
                last = run
            elif run[0] == last[1] and run[2:] == last[2:]:
                last[1] = run[1]
            else:
                yield last
                last = run
    if last is not None:
        yield last
