# SPDX-License-Identifier: GPL-2.0-only
"""The snapshots of a dataset, the newest first."""

from typing import TYPE_CHECKING

from ..model.table import Absent, Column, Table
from .answer import FleetReport, answer
from .engine import cut, stamp

if TYPE_CHECKING:
    from .engine import Fleet

NEEDS: tuple[str, ...] = ()
"""The tables that are read beside snapshots."""

_SNAPSHOTS = f"""
SELECT host, {stamp("time")} AS stamp, release, source, nullif(spanned, 0), error
FROM snapshots ORDER BY stamp DESC, host
"""
_NONE = (Absent.NOT_APPLICABLE,)
COLUMNS = (
    Column("host"),
    Column("time"),
    Column("release", spare=2),
    Column("source", spare=1),
    Column("pages", "int64", "pages", absent=_NONE),
    Column("error", absent=_NONE),
)


def report(fleet: "Fleet", top: int) -> FleetReport:
    """Return the first `top` snapshots, 0 for all."""
    fleet.tables(["snapshots"])
    rows, left = cut(fleet.rows(_SNAPSHOTS), top)
    cells = [
        (*row, *(cell or Absent.NOT_APPLICABLE for cell in (pages, error)))
        for *row, pages, error in rows
    ]
    return answer(fleet, "snapshots", ("", Table("snapshots", COLUMNS, cells)), remarks=(left,))
