# SPDX-License-Identifier: GPL-2.0-only
"""Counter checks as a table."""

from collections.abc import Iterable

from ..analysis.counter_check import CounterCheck
from ..model.table import Column, Table

_COLUMNS = (
    Column("name"),
    Column("uses", "list[string]", separator="+"),
    Column("counter"),
    Column("counted", "int64", "pages"),
    Column("kernel before", "int64", "pages", "before"),
    Column("kernel", "int64", "pages"),
    Column("verdict"),
    Column("why"),
)


def counters_table(checks: Iterable[CounterCheck]) -> Table:
    """Return the table with a row per counter check."""
    rows = [
        (c.name, c.uses, c.counter, c.counted, c.before, c.kernel, c.verdict, c.why) for c in checks
    ]
    return Table("counters", _COLUMNS, rows)
