# SPDX-License-Identifier: GPL-2.0-only
"""The report of all questions on a fleet."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..model.table import Table
from ..report.base import SCHEMA, WIDTH, Report, View
from ..units import counted, wrapped

if TYPE_CHECKING:
    from .engine import Fleet


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
    """Tables with their titles; the title of the first is not shown. Rows are in a list, or are an
    iterator that yields some."""
    remarks: tuple[str, ...] = ()
    """Sentences for people."""
    empty: str = "No rows."
    """The sentence for people in place of the first table if it has no rows."""
    late: Callable[[], str] = str
    """Returns one more sentence, or none, after all rows were formatted."""

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
        """Return the tables that have rows with their titles, and the remarks."""
        chosen = f"{counted(self.snapshots, 'snapshot')} of {counted(self.hosts, 'host')}"
        remarks, commands = list(self.remarks), list[str]()
        if self.errors and self.question != "hosts":
            what = counted(self.errors, "snapshot", "have")
            remarks.append(f"{what} an error in place of tables. See:")
            commands.append(f"    pageinspect fleet {shlex.quote(self.dataset)} hosts")
        (_, first), *more = self.answers
        before: tuple[str, ...] = (chosen, "")
        if not first.rows:
            before = (chosen,)
            remarks.insert(0, self.empty)

        def after() -> tuple[str, ...]:
            texts = filter(None, (self.late(), *remarks))
            lines = (line for text in texts for line in ("", *wrapped(text, WIDTH)))
            return (*lines, *commands)

        filled = tuple((title, table) for title, table in more if table.rows)
        return View(first, before=before, more=filled, after=after)


def answer(
    fleet: "Fleet",
    question: str,
    *answers: tuple[str, Table],
    remarks: tuple[str, ...] = (),
    empty: str = "No rows.",
    late: Callable[[], str] = str,
) -> FleetReport:
    """Return the report of a question, with the sentence for a first table without rows."""
    return FleetReport(
        question,
        fleet.hosts,
        fleet.snapshots,
        fleet.errors,
        str(fleet.dataset),
        answers,
        tuple(remarks),
        empty,
        late,
    )
