# SPDX-License-Identifier: GPL-2.0-only
"""A report whose rows restart the watchdog (host/progress.py) as a format reads them."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..host.progress import paced
from ..model.table import Table
from ..report import Report, View

if TYPE_CHECKING:
    # It imports numpy, which not all reports need.
    from ..report.metrics import Metrics

_ROWS = 4096
"""Rows that are read between two reports of progress."""


@dataclass(frozen=True, slots=True)
class ReportingProgress(Report):
    """The same report, for one format to write."""

    report: Report

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            key: _paced(value) if isinstance(value, Table) else value
            for key, value in self.report.document().items()
        }

    def tables(self) -> tuple[Table, ...]:
        """Return the tables."""
        return tuple(map(_paced, self.report.tables()))

    def view(self) -> View:
        """Return the text for people."""
        view = self.report.view()
        return replace(view, table=_paced(view.table))

    def metrics(self) -> "tuple[Metrics, ...]":
        """Return the metrics."""
        return tuple(replace(each, table=_paced(each.table)) for each in self.report.metrics())


def _paced(table: Table) -> Table:
    return replace(table, rows=paced(table.rows, _ROWS))
