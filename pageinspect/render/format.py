"""What an output format is, and where they are found: each is one module of formats/."""

import importlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TextIO, cast

from . import formats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..model.table import Row, Table
    from ..report import Report

ROWS_OF_PROGRESS = 4096
"""Rows that are written between two signs of progress."""


class Format(ABC):
    """One output format. Its module is imported when it is asked for."""

    continues: ClassVar[bool] = False
    """Rows of a later report go on under the head of the first, as nothing else is written."""
    one_table: ClassVar[bool] = False
    """A stream has the rows of one table alone."""
    gap: ClassVar[str] = ""
    """What sets a report apart from rows before it."""

    @abstractmethod
    def write(self, report: "Report", stream: TextIO) -> None:
        """Write a report; its rows as they come."""

    @abstractmethod
    def begin(self, table: "Table", stream: TextIO) -> "Callable[[Iterable[Row]], None]":
        """Write the head of a table that grows; returns what writes rows below it."""


def find_formats() -> tuple[str, ...]:
    """Return the names of the formats."""
    # Not by pkgutil, which takes longer to import than --help may.
    files = (file for folder in formats.__path__ for file in Path(folder).glob("[!_]*.py"))
    return tuple(sorted(file.stem for file in files))


FORMATS = find_formats()


def load(form: str) -> Format:
    """Return one of FORMATS."""
    return cast("Format", importlib.import_module(f"{formats.__name__}.{form}").FORMAT)


def render(report: "Report", form: str, stream: TextIO) -> None:
    """Write the report to the stream in one of FORMATS."""
    load(form).write(report, stream)
