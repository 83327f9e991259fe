# SPDX-License-Identifier: GPL-2.0-only
"""Pages that were freed with a type set, by type and caller over the fleet."""

from typing import TYPE_CHECKING

from ..model.table import Absent, Column, Table
from .answer import FleetReport, answer
from .engine import cut

if TYPE_CHECKING:
    from .engine import Fleet

NEEDS: tuple[str, ...] = ("frees",)
"""The tables that are read beside snapshots."""

_FREES = """
SELECT type, caller, expected, disallowed, sum(frees)::BIGINT AS n, sum(pages)::BIGINT,
    count(DISTINCT host), sum(frees) / nullif(sum(seconds), 0),
    arg_min(host, (-frees, host))
FROM frees GROUP BY ALL
ORDER BY disallowed DESC, expected, n DESC, type, caller
"""
_EMPTY = "No frees in these snapshots: pageinspect trace --every SECONDS adds them."
_NONE = (Absent.NOT_APPLICABLE,)
COLUMNS = (
    Column("type"),
    Column("caller", absent=_NONE),
    Column("expected", "bool"),
    Column("disallowed", "bool"),
    Column("frees", "int64", "count"),
    Column("pages", "int64", "pages", spare=3),
    Column("hosts", "int64", "count"),
    Column(
        "per second",
        "float64",
        key="frees_per_second",
        absent=_NONE,
        show="{:,.4g}".format,
        spare=2,
    ),
    Column("most at", key="highest_host", spare=1),
)


def report(fleet: "Fleet", top: int) -> FleetReport:
    """Return the first `top` types and callers, 0 for all.

    Disallowed ones are first, then unexpected ones, then those with most frees.
    """
    fleet.tables(["frees"])
    rows, left = cut(fleet.rows(_FREES), top)
    none = Absent.NOT_APPLICABLE
    cells = [tuple(none if cell is None else cell for cell in row) for row in rows]
    return answer(
        fleet, "frees", ("", Table("frees", COLUMNS, cells)), remarks=(left,), empty=_EMPTY
    )
