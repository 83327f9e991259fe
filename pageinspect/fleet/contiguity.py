# SPDX-License-Identifier: GPL-2.0-only
"""How contiguous free memory is over the fleet: the figures of Contiguitas, of hosts and blocks.

The newest snapshot of each host counts. A block is free if all of its 2 MiB are.
"""

from typing import TYPE_CHECKING

from ..model.arch import LARGE_PAGE_SIZE, PAGE_SIZE
from ..model.table import Absent, Column, Table
from .answer import FleetReport, answer
from .engine import cut

if TYPE_CHECKING:
    from .engine import Fleet

NEEDS: tuple[str, ...] = ("blocks",)
"""The tables that are read beside snapshots."""

_COUNTED = """
CREATE TEMP TABLE counted AS
SELECT host, unmovable, count(*) AS blocks, count(*) FILTER (free >= $whole) AS free
FROM newest_blocks GROUP BY host, unmovable
"""
_BY_HOST = """
CREATE TEMP TABLE of_hosts AS
SELECT host, release, blocks, free, with_unmovable, 100.0 * with_unmovable / blocks AS percent
FROM newest JOIN (
    SELECT host, sum(blocks)::BIGINT AS blocks, sum(free)::BIGINT AS free,
        coalesce(sum(blocks) FILTER (unmovable > 0), 0)::BIGINT AS with_unmovable
    FROM counted GROUP BY host
) USING (host)
"""
_FLEET = """
SELECT count(*), count(*) FILTER (free = 0), 100.0 * count(*) FILTER (free = 0) / count(*),
    sum(blocks)::BIGINT, sum(free)::BIGINT, sum(with_unmovable)::BIGINT,
    100.0 * sum(with_unmovable) / sum(blocks)
FROM of_hosts HAVING count(*) > 0
"""
_SPREAD = """
SELECT 1 AS place, 'free blocks of a host', quantile_disc(free::DOUBLE, 0.5),
    quantile_disc(free::DOUBLE, 0.99), max(free)::DOUBLE, arg_min(host, (-free, host))
FROM of_hosts HAVING count(*) > 0
UNION ALL
SELECT 2, '% of the blocks of a host with unmovable pages', quantile_disc(percent, 0.5),
    quantile_disc(percent, 0.99), max(percent), arg_min(host, (-percent, host))
FROM of_hosts HAVING count(*) > 0
UNION ALL
SELECT 3, 'unmovable pages of a block', min(unmovable) FILTER (below >= ceil(blocks * 0.5)),
    min(unmovable) FILTER (below >= ceil(blocks * 0.99)), max(unmovable), NULL
FROM (
    SELECT unmovable::DOUBLE AS unmovable, sum(blocks) OVER (ORDER BY unmovable) AS below,
        sum(blocks) OVER () AS blocks
    FROM (SELECT unmovable, sum(blocks) AS blocks FROM counted GROUP BY unmovable)
) HAVING count(*) > 0
ORDER BY place
"""
_WORST = """
SELECT host, release, blocks, free, with_unmovable, percent FROM of_hosts
ORDER BY free > 0, percent DESC, host
"""
_COUNTS = (
    Column("blocks", "int64", "count"),
    Column("free", "int64", "count", "free_blocks"),
    Column("with unmovable", "int64", "count", "blocks_with_unmovable"),
    Column("%", "float64", "percent", "unmovable_percent"),
)
TOTALS = (
    Column("hosts", "int64", "count"),
    Column("without free", "int64", "count", "hosts_without_free"),
    Column("% of hosts", "float64", "percent", "hosts_without_free_percent"),
    *_COUNTS,
)
SPREADS = (
    Column("of", key="figure"),
    *(Column(part, "float64", show="{:,.4g}".format) for part in ("p50", "p99", "max")),
    Column("highest", key="highest_host", absent=(Absent.NOT_APPLICABLE,)),
)
HOSTS = (Column("host"), Column("release"), *_COUNTS)


def report(fleet: "Fleet", top: int) -> FleetReport:
    """Return totals, spreads, and the first `top` hosts, 0 for all.

    Hosts without a free block are first, then those with the largest share of blocks that have
    unmovable pages.
    """
    fleet.newest("blocks")
    fleet.rows(_COUNTED, {"whole": LARGE_PAGE_SIZE // PAGE_SIZE})
    fleet.rows(_BY_HOST)
    hosts, left = cut(fleet.rows(_WORST), top)
    spreads = [(*row[1:5], row[5] or Absent.NOT_APPLICABLE) for row in fleet.rows(_SPREAD)]
    return answer(
        fleet,
        "contiguity",
        ("", Table("fleet", TOTALS, fleet.rows(_FLEET))),
        ("Spread over the fleet:", Table("spread", SPREADS, spreads)),
        ("Hosts without a free block of 2 MiB first:", Table("hosts", HOSTS, hosts)),
        remarks=(left,),
        empty="No snapshot has blocks.",
    )
