# SPDX-License-Identifier: GPL-2.0-only
"""The report of `vm list`: the kernels that guests can run."""

from dataclasses import dataclass
from typing import Any

from ..model.table import Absent, Column, Table
from .base import SCHEMA, Report, View


@dataclass(frozen=True, slots=True)
class GuestKernel:
    """One kernel of the catalogue, or one that was built."""

    name: str
    suite: str
    series: str
    release: str | None
    """None if it is not built."""
    bytes: int | None
    """The size of the built files."""
    debuginfo: bool
    """Whether its vmlinux with DWARF was built."""
    proves: str


_NOT_BUILT = (Absent.NOT_APPLICABLE,)
_COLUMNS = (
    Column("kernel", key="name"),
    Column("suite", spare=1),
    Column("series", machines=True),
    Column("release", absent=_NOT_BUILT, blank="not built"),
    Column("size", "int64", "bytes", "bytes", absent=_NOT_BUILT),
    Column("debuginfo", "bool"),
    Column("proves", machines=True),
)


@dataclass(frozen=True, slots=True)
class KernelsReport(Report):
    """All kernels of the catalogue."""

    kernels: tuple[GuestKernel, ...]

    def _table(self) -> Table:
        none = Absent.NOT_APPLICABLE
        rows = [
            (
                *(k.name, k.suite, k.series, k.release or none),
                *(none if k.bytes is None else k.bytes, k.debuginfo, k.proves),
            )
            for k in self.kernels
        ]
        return Table("kernels", _COLUMNS, rows)

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {"schema": SCHEMA, "kernels": self._table()}

    def tables(self) -> tuple[Table, ...]:
        """Return the table of kernels."""
        return (self._table(),)

    def view(self) -> View:
        """Return the kernels, and below them the purpose of each."""
        lines = (f"{k.name} ({k.suite}): {k.proves}." for k in self.kernels if k.proves)
        return View(self._table(), after=("", *lines))
