# SPDX-License-Identifier: GPL-2.0-only
"""The results of the methods of an Inspector: reports with repr(), HTML and data frames."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import count
from typing import Any, Generic, NamedTuple, TypeVar

from ..errors import PageInspectError
from ..host.extras import load_library
from ..model.layout import PageLayout
from ..model.provenance import Provenance
from ..model.table import Absent
from ..render import render
from ..render.arrow import arrow_table
from ..render.html import write_html
from ..report import Coverage, Report
from ..report.audit import AuditReport
from ..report.base import coverage_of
from ..report.check import CheckReport
from ..report.contiguity import ContiguityReport
from ..report.frames import frame_columns
from ..report.listing import Listing, PagesListing, RunsListing
from ..report.obstacles import ObstaclesReport
from ..report.owners import OwnersReport
from ..report.page import PageReport
from ..report.processes import ProcessesReport
from ..report.selection import Selection
from ..report.summary import SummaryReport

T = TypeVar("T")

_MOST_LINES = 60
"""Lines of a report in its repr()."""
_MOST_ROWS = 100
"""Rows of a table in a notebook."""
_PANDAS = {
    "bool": "boolean",
    "int64": "Int64",
    "uint64": "UInt64",
    "float64": "Float64",
    "string": "string",
}
"""Nullable types of pandas by dtype; lists have the type "object"."""


class _FullError(Exception):
    """Enough lines were written."""


class _FirstLines(io.StringIO):
    """A stream that raises _FullError after _MOST_LINES lines."""

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.getvalue().count("\n") > _MOST_LINES:
            raise _FullError
        return written


class Result(Report):
    """A report in Python. print() shows all of it, repr() the first 60 lines."""

    __slots__ = ()

    def __str__(self) -> str:
        stream = io.StringIO()
        render(self, "table", stream)
        return stream.getvalue().rstrip("\n")

    def __repr__(self) -> str:
        stream = _FirstLines()
        try:
            render(self, "table", stream)
        except _FullError:
            lines = stream.getvalue().split("\n")[:_MOST_LINES]
            return "\n".join((*lines, "…", "print() shows all."))
        return stream.getvalue().rstrip("\n")

    def _repr_html_(self) -> str:
        stream = io.StringIO()
        write_html(self, stream, _MOST_ROWS)
        return stream.getvalue()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON form as plain lists, dicts, text and numbers."""
        return self.to_json()

    def to_arrow(self) -> Any:
        """Return the rows as a pyarrow.Table; raises PageInspectError if pyarrow is not installed.

        The columns are those of --format csv.
        """
        return arrow_table(self)

    def to_pandas(self) -> Any:
        """Return the same rows as a pandas.DataFrame.

        Raises PageInspectError if pandas is not installed.
        """
        pandas = load_library("pandas", "pandas")
        return pandas.DataFrame(
            {
                column.key: pandas.Series(column.values, dtype=_PANDAS.get(column.dtype, "object"))
                for column in frame_columns(self)
            }
        )


class SummaryResult(Result, SummaryReport):
    """The result of Inspector.summary()."""

    __slots__ = ()


class CheckResult(Result, CheckReport):
    """The result of Inspector.check()."""

    __slots__ = ()


class PageResult(Result, PageReport):
    """The result of Inspector.page()."""

    __slots__ = ()


class OwnersResult(Result, OwnersReport):
    """The result of Inspector.owners()."""

    __slots__ = ()


class AuditResult(Result, AuditReport):
    """The result of Inspector.audit()."""

    __slots__ = ()


class ContiguityResult(Result, ContiguityReport):
    """The result of Inspector.contiguity()."""

    __slots__ = ()


class ObstaclesResult(Result, ObstaclesReport):
    """The result of Inspector.obstacles()."""

    __slots__ = ()


class ProcessesResult(Result, ProcessesReport):
    """The result of Inspector.processes()."""

    __slots__ = ()


Kind = TypeVar(
    "Kind",
    SummaryResult,
    CheckResult,
    PageResult,
    OwnersResult,
    AuditResult,
    ContiguityResult,
    ObstaclesResult,
    ProcessesResult,
)


def result_of(kind: type[Kind], report: Report) -> Kind:
    """Return a report as the Result class `kind`."""
    return kind(**{field.name: getattr(report, field.name) for field in fields(kind)})


class _Replayable(Generic[T]):
    """An iterable that keeps the items of an iterator, so that it can be iterated again."""

    def __init__(self, items: Iterable[T]) -> None:
        self._rest = iter(items)
        self._kept: list[T] = []
        self._failed = False

    def __iter__(self) -> Iterator[T]:
        for i in count():
            if i == len(self._kept) and not self._take():
                return
            yield self._kept[i]

    def _take(self) -> bool:
        """Keep one more item; return False at the end."""
        if self._failed:
            raise PageInspectError(
                "the walk of this listing ended with an error", "call list() again"
            )
        try:
            self._kept.append(next(self._rest))
        except StopIteration:
            return False
        except BaseException:
            self._failed = True
            raise
        return True


class ListResult(Result, Listing):
    """The result of Inspector.list(): pages are read when rows are first requested, then kept."""

    def __init__(
        self,
        provenance: Provenance,
        layout: PageLayout,
        selection: Selection,
        parts: Iterable[Any],
    ) -> None:
        super().__init__(provenance, layout, selection, _Replayable(parts))

    @property
    def coverage(self) -> Coverage:
        """The Coverage of the walk; pages that were not read yet are read now."""
        unreadable = sum(part.unreadable for part in self._parts)
        selection = self.selection
        return coverage_of(
            self.provenance, self.layout, selection.spanned, unreadable, selection.missing
        )


class RunRow(NamedTuple):
    """A run of pages of one use, type and order; the end is exclusive."""

    start: int
    end: int
    use: str
    type: str
    order: int
    pages: int
    bytes: int


class PageRow(NamedTuple):
    """One page. What could not be read, or is unavailable, is None."""

    pfn: int
    use: str
    type: str
    word: str | None
    refcount: int | None
    order: int | None
    flags: tuple[str, ...]


class RunsResult(ListResult, RunsListing):
    """Runs of pages of one use, type and order."""

    def __iter__(self) -> Iterator[RunRow]:
        """Yield the rows; pages are read meanwhile, the first time."""
        return map(RunRow._make, self._items(self._parts))


class PagesResult(ListResult, PagesListing):
    """Every selected page, one row each."""

    def __iter__(self) -> Iterator[PageRow]:
        """Yield the rows; pages are read meanwhile, the first time."""
        for row in self._items(self._parts):
            yield PageRow._make(None if isinstance(cell, Absent) else cell for cell in row)
