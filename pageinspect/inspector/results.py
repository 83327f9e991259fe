"""What the methods of an Inspector return: reports that show themselves, and turn into frames."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import fields
from importlib import import_module
from itertools import count
from typing import Any, Generic, TypeVar

from ..errors import PageInspectError
from ..model.layout import PageLayout
from ..model.provenance import Provenance
from ..render import render
from ..render.html import write_html
from ..report import Coverage, Report
from ..report.base import coverage_of
from ..report.check import CheckReport
from ..report.frames import frame_columns
from ..report.listing import Listing, PagesListing, RunsListing
from ..report.page import PageReport
from ..report.selection import Selection
from ..report.summary import SummaryReport

T = TypeVar("T")

_MOST_LINES = 60
"""Of a report in its repr()."""
_MOST_ROWS = 100
"""Of a table in a notebook."""
_PANDAS = {
    "bool": "boolean",
    "int64": "Int64",
    "uint64": "UInt64",
    "float64": "Float64",
    "string": "string",
}
"""Types of pandas that have a value for None, by dtype; lists are objects."""


class _FullError(Exception):
    """No more is wanted."""


class _FirstLines(io.StringIO):
    """Takes _MOST_LINES lines, and no more."""

    def write(self, text: str) -> int:
        written = super().write(text)
        if self.getvalue().count("\n") > _MOST_LINES:
            raise _FullError
        return written


class Result(Report):
    """What a report can do in Python. print() shows all of it, repr() the first lines."""

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
        """Return the rows for machines as a pyarrow.Table. Raises PageInspectError without pyarrow.

        The columns are those of --format csv.
        """
        arrow = _library("pyarrow", "arrow")
        return arrow.table(
            {
                column.key: arrow.array(column.values, type=_arrow_type(arrow, column.dtype))
                for column in frame_columns(self)
            }
        )

    def to_pandas(self) -> Any:
        """Return the same rows as a pandas.DataFrame. Raises PageInspectError without pandas."""
        pandas = _library("pandas", "pandas")
        return pandas.DataFrame(
            {
                column.key: pandas.Series(column.values, dtype=_PANDAS.get(column.dtype, "object"))
                for column in frame_columns(self)
            }
        )


def _arrow_type(arrow: Any, dtype: str) -> Any:
    if dtype == "list[string]":
        return arrow.list_(arrow.string())
    return arrow.type_for_alias(dtype)


def _library(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        raise PageInspectError(
            f"{name} is not installed", f"pip install 'pageinspect[{extra}]'"
        ) from None


class SummaryResult(Result, SummaryReport):
    """What Inspector.summary() returns."""

    __slots__ = ()


class CheckResult(Result, CheckReport):
    """What Inspector.check() returns."""

    __slots__ = ()


class PageResult(Result, PageReport):
    """What Inspector.page() returns."""

    __slots__ = ()


Kind = TypeVar("Kind", SummaryResult, CheckResult, PageResult)


def result_of(kind: type[Kind], report: SummaryReport | CheckReport | PageReport) -> Kind:
    """Return a report as the kind of result that it is."""
    return kind(**{field.name: getattr(report, field.name) for field in fields(report)})


class _Replayable(Generic[T]):
    """The items of an iterator, kept as they come, which can be gone through again."""

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
        """Keep one more item; returns whether there is one."""
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
    """What Inspector.list() returns: pages are read when rows are first asked for, and kept."""

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
        """How much could be read; reads what is not yet read."""
        unreadable = sum(part.unreadable for part in self._parts)
        return coverage_of(self.provenance, self.layout, self.selection.spanned, unreadable)


class RunsResult(ListResult, RunsListing):
    """Runs of equal pages."""


class PagesResult(ListResult, PagesListing):
    """Every page."""
