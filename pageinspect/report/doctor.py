# SPDX-License-Identifier: GPL-2.0-only
"""The report of `doctor`: what this machine provides, and how to fix what is missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..doctor.finding import GUESTS, KERNEL, CheckedItem, works
from ..model.table import Absent, Column, Table
from ..units import printable
from .base import SCHEMA, Report, View

_COLUMNS = (
    Column("item", key="name"),
    Column("ok", "bool", show=lambda ok: "yes" if ok else "NO"),
    Column("found"),
    Column("needed for", "list[string]", key="needed_for", separator=", "),
    Column("fix", absent=(Absent.NOT_APPLICABLE,), machines=True),
)


@dataclass(frozen=True, slots=True)
class DoctorReport(Report):
    """The items that were examined; `release` is that of the running kernel."""

    release: str
    examined: Sequence[CheckedItem]

    @property
    def well(self) -> bool:
        """Whether walking and tracing this kernel work."""
        return all(self._works().values())

    def _works(self, what: Sequence[str] = KERNEL) -> dict[str, bool]:
        return {each: works(self.examined, each) for each in what}

    def _table(self) -> Table:
        rows = [
            (
                each.item.name,
                each.finding.ok,
                printable(each.finding.found),
                each.item.needed_for,
                printable(each.finding.fix) or Absent.NOT_APPLICABLE,
            )
            for each in self.examined
        ]
        return Table("items", _COLUMNS, rows)

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": SCHEMA,
            "kernel": {"release": printable(self.release)},
            "works": self._works((*KERNEL, GUESTS)),
            "items": self._table(),
        }

    def tables(self) -> tuple[Table, ...]:
        """Return the items."""
        return (self._table(),)

    def view(self) -> View:
        """Return the items, and below them what works and how to fix the rest."""
        return View(
            self._table(),
            before=(f"Linux {self.release}, this machine", ""),
            after=("", *self._verdict(), *self._fixes()),
        )

    def _verdict(self) -> tuple[str, ...]:
        verdicts = self._works((*KERNEL, GUESTS))
        lines = []
        for said, ok in (("Works here", True), ("Does not work here", False)):
            names = ", ".join(what for what, works_here in verdicts.items() if works_here is ok)
            lines += [f"{said}: {names}."] if names else []
        return tuple(lines)

    def _fixes(self) -> tuple[str, ...]:
        """Return a line per fix, with the items that it fixes."""
        fixes: dict[str, list[str]] = {}
        for each in self.examined:
            if each.finding.fix:
                fixes.setdefault(each.finding.fix, []).append(each.item.name)
        lines = [f"{', '.join(names)}: {fix}." for fix, names in fixes.items()]
        return ("", *lines) if lines else ()
