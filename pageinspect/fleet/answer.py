# SPDX-License-Identifier: GPL-2.0-only
"""The report of all questions on a fleet."""

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..model.table import Table
from ..report.base import SCHEMA, Report, View
from ..units import counted, wrapped

if TYPE_CHECKING:
    from .engine import Fleet

_WIDTH = 80


@dataclass(frozen=True, slots=True)
class FleetReport(Report):
    """The tables that answer a question, and how many snapshots they are made from."""

    question: str
    """The name of the report; `sql` for a query of the user."""
    hosts: int
    snapshots: int
    errors: int
    """Snapshots that have an error in place of tables."""
    dataset: str
    answers: tuple[tuple[str, Table], ...]
    """Tables with their titles; the title of the first is not shown."""
    remarks: tuple[str, ...] = ()
    """Sentences for people."""

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": SCHEMA,
            "report": self.question,
            "hosts_chosen": self.hosts,
            "snapshots_chosen": self.snapshots,
            "errors": self.errors,
            **{table.name: table for table in self.tables()},
        }

    def tables(self) -> tuple[Table, ...]:
        """Return the tables."""
        return tuple(table for _, table in self.answers)

    def view(self) -> View:
        """Return the tables with their titles, and the remarks."""
        chosen = f"{counted(self.snapshots, 'snapshot')} of {counted(self.hosts, 'host')}"
        after = [line for text in self.remarks if text for line in ("", *wrapped(text, _WIDTH))]
        if self.errors and self.question != "hosts":
            what = counted(self.errors, "snapshot", "have")
            after += ["", f"{what} an error in place of tables. See:"]
            after.append(f"    pageinspect fleet {shlex.quote(self.dataset)} hosts")
        first, *more = self.answers
        return View(first[1], before=(chosen, ""), more=tuple(more), after=tuple(after))


def answer(
    fleet: "Fleet", question: str, *answers: tuple[str, Table], remarks: tuple[str, ...] = ()
) -> FleetReport:
    """Return the report of a question."""
    return FleetReport(
        question,
        fleet.hosts,
        fleet.snapshots,
        fleet.errors,
        str(fleet.dataset),
        answers,
        tuple(remarks),
    )
