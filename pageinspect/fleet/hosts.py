# SPDX-License-Identifier: GPL-2.0-only
"""The hosts of a dataset, and how many snapshots each has."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..model.table import Absent, Column, Table
from .answer import FleetReport, answer
from .engine import cut, stamp

if TYPE_CHECKING:
    from .engine import Fleet

NEEDS: tuple[str, ...] = ()
"""The tables that are read beside snapshots."""

_HOSTS = f"""
SELECT host, arg_max(release, time), list_sort(list(DISTINCT release)),
    {stamp("min(time)")}, {stamp("max(time)")} AS last, count(*),
    count(DISTINCT coalesce(boot_id, boot_time::VARCHAR)), count(error), arg_max(error, time)
FROM snapshots GROUP BY host ORDER BY host
"""
_MOST_NAMED = 2


def _few(releases: Sequence[str]) -> str:
    """Return releases for people: of many the first and the last."""
    if len(releases) > _MOST_NAMED:
        return f"{releases[0]} … {releases[-1]} ({len(releases)})"
    return ", ".join(releases)


COLUMNS = (
    Column("host"),
    Column("release", machines=True),
    Column("release", "list[string]", key="releases", show=_few),
    Column("first", spare=1),
    Column("last"),
    Column("snapshots", "int64", "count"),
    Column("boots", "int64", "count", spare=3),
    Column("errors", "int64", "count"),
    Column("last error", key="last_error", absent=(Absent.NOT_APPLICABLE,), spare=2),
)


def report(fleet: "Fleet", top: int) -> FleetReport:
    """Return the first `top` hosts by name, 0 for all."""
    fleet.tables(["snapshots"])
    rows, left = cut(fleet.rows(_HOSTS), top)
    cells = [
        (*row[:2], tuple(row[2]), *row[3:-1], row[-1] or Absent.NOT_APPLICABLE) for row in rows
    ]
    return answer(fleet, "hosts", ("", Table("hosts", COLUMNS, cells)), remarks=(left,))
