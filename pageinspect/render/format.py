# SPDX-License-Identifier: GPL-2.0-only
"""The interface of output formats, and their lookup: each is one module of formats/."""

import importlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, ClassVar, TextIO, cast

from ..errors import UsageError
from ..host.extras import need_library
from . import formats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..model.table import Row, Table
    from ..report import Report


class Format(ABC):
    """One output format. Its module is imported when it is used."""

    library: ClassVar[tuple[str, str] | None] = None
    """The module of an optional library that it needs, and the extra that installs it."""
    tables_alone: ClassVar[bool] = False
    """Whether it has the tables of a report, and no other value or sentence."""

    @abstractmethod
    def write(self, report: "Report", stream: TextIO) -> None:
        """Write a report, its rows one by one as they are read.

        Reading a row restarts the watchdog of progress: render() sees to it, for every format.
        """


class RowFormat(Format):
    """A format in which rows can be written before all of them are known."""

    continues: ClassVar[bool] = False
    """Whether rows of later reports follow those of the first without a new header."""
    one_table: ClassVar[bool] = False
    """Whether a stream can have the rows of only one table."""
    gap: ClassVar[str] = ""
    """The text between a report and rows before it."""

    @abstractmethod
    def begin(self, table: "Table", stream: TextIO) -> "Callable[[Iterable[Row]], None]":
        """Write the header of a table; return the function that writes rows below it."""


def bytes_of(stream: TextIO) -> BinaryIO:
    """Return the binary stream below a text stream. Raises UsageError for a terminal."""
    if stream.isatty():
        raise UsageError("this format is binary", "write it to a file: -o FILE")
    stream.flush()
    return stream.buffer


def find_formats() -> tuple[str, ...]:
    """Return the names of the formats."""
    # Not by pkgutil: importing that would slow down --help.
    files = (file for folder in formats.__path__ for file in Path(folder).glob("[!_]*.py"))
    return tuple(sorted(file.stem for file in files))


METRICS = "prometheus"
"""The format of reports that have metrics."""
FORMATS = tuple(form for form in find_formats() if form != METRICS)
"""The formats of every report."""
TEXT_FORMATS = tuple(form for form in FORMATS if form != "parquet")


def load(form: str) -> Format:
    """Return the Format with one of these names: those of FORMATS, and METRICS.

    Raises PageInspectError if the library that it needs is not installed.
    """
    found = cast("Format", importlib.import_module(f"{formats.__name__}.{form}").FORMAT)
    if found.library is not None:
        need_library(*found.library)
    return found


def render(report: "Report", form: str, stream: TextIO) -> None:
    """Write the report to the stream in the format `form`: see load()."""
    from .reporting_progress import ReportingProgress  # reports import numpy

    load(form).write(ReportingProgress(report), stream)
