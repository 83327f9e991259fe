# SPDX-License-Identifier: GPL-2.0-only
"""How many pages of each use hosts have now: the spread over hosts, and hosts at its ends."""

from typing import TYPE_CHECKING

from ..model.snapshot import HEADER
from ..model.table import Column, Table
from .answer import FleetReport, answer
from .engine import cut

if TYPE_CHECKING:
    from .engine import Fleet

NEEDS: tuple[str, ...] = ()
"""The tables that are read beside snapshots."""

_SPREAD = """
WITH every AS (
    SELECT host, use, coalesce(uses[use], 0) AS pages
    FROM newest_snapshots
    CROSS JOIN (SELECT DISTINCT unnest(map_keys(uses)) AS use FROM newest_snapshots)
    WHERE uses IS NOT NULL
)
SELECT
    use,
    count(*) FILTER (pages > 0) AS hosts,
    min(pages),
    quantile_disc(pages, 0.5) AS median,
    quantile_disc(pages, 0.99),
    max(pages) AS most,
    arg_min(host, (pages, host), 3),
    arg_min(host, (-pages, host), 3)
FROM every GROUP BY use ORDER BY median DESC, most DESC, use
"""
_EMPTY = "No snapshot has pages by use."
COLUMNS = (
    Column("use"),
    Column("hosts", "int64", "count"),
    Column("min", "int64", "pages", "pages_min"),
    Column("median", "int64", "pages", "pages_p50"),
    Column("p99", "int64", "pages", "pages_p99"),
    Column("max", "int64", "pages", "pages_max"),
    Column("lowest", "list[string]", key="lowest_hosts", separator=" ", spare=2),
    Column("highest", "list[string]", key="highest_hosts", separator=" ", spare=1),
)


def report(fleet: "Fleet", top: int) -> FleetReport:
    """Return the first `top` uses, 0 for all, those with the highest median first."""
    fleet.newest(HEADER)
    rows, left = cut(fleet.rows(_SPREAD), top)
    cells = [(*row[:-2], *map(tuple, row[-2:])) for row in rows]
    return answer(fleet, "uses", ("", Table("uses", COLUMNS, cells)), remarks=(left,), empty=_EMPTY)
