# SPDX-License-Identifier: GPL-2.0-only
"""Which owners grow: slopes over time by least squares, of the fleet and of each host.

The slope of a host is that of one boot, the newest with two snapshots: another kernel begins with
other memory. An owner that a snapshot lacks has 0 pages then. With t the time of a snapshot less
the mean of its host, the slope of a host is the sum of t * pages over the sum of t * t: each row of
owners counts with a weight that the table of snapshots alone provides, and the slope of the fleet
is one sum.
"""

from typing import TYPE_CHECKING

from ..model.table import Column, Table
from ..units import counted
from .answer import FleetReport, answer
from .engine import cut

if TYPE_CHECKING:
    from .engine import Fleet

NEEDS: tuple[str, ...] = ("owners",)
"""The tables that are read beside snapshots."""

_WEIGHTS = """
CREATE TEMP TABLE weights AS
WITH every AS (
    SELECT host, time, page_size, epoch_us(time) / 86400e6 AS day,
        coalesce(boot_id, boot_time::VARCHAR, release) AS boot
    FROM snapshots WHERE error IS NULL AND list_contains(tables, 'owners')
),
boots AS (SELECT host, boot, count(*) AS n, max(time) AS last FROM every GROUP BY host, boot),
newest AS (SELECT host, arg_max(boot, last) AS boot FROM boots WHERE n > 1 GROUP BY host),
days AS (SELECT * FROM every SEMI JOIN newest USING (host, boot)),
centred AS (SELECT *, day - avg(day) OVER (PARTITION BY host) AS t FROM days),
summed AS (
    SELECT *, sum(t * t) OVER (PARTITION BY host) AS squares FROM centred
)
SELECT host, time, page_size * t / squares AS weight FROM summed
"""
_OTHER_BOOTS = """
SELECT count(*), count(DISTINCT host)
FROM snapshots SEMI JOIN weights USING (host) ANTI JOIN weights USING (host, time)
WHERE error IS NULL AND list_contains(tables, 'owners')
"""
_OWNERS = """
CREATE TEMP TABLE growing AS
SELECT kind, name, round(sum(pages * weight))::BIGINT AS slope
FROM owners JOIN weights USING (host, time)
GROUP BY kind, name ORDER BY slope DESC, kind, name LIMIT $top
"""
_BY_HOST = """
CREATE TEMP TABLE of_hosts AS
SELECT kind, name, host, round(sum(pages * weight))::BIGINT AS slope
FROM owners SEMI JOIN growing USING (kind, name) JOIN weights USING (host, time)
GROUP BY kind, name, host
"""
_SUMMARY = """
SELECT kind, name, any_value(g.slope) AS slope, count(*), quantile_disc(h.slope, 0.5), max(h.slope),
    arg_min(host, (-h.slope, host))
FROM growing g JOIN of_hosts h USING (kind, name)
GROUP BY kind, name ORDER BY slope DESC, kind, name
"""
_STEEPEST = """
SELECT kind, name, host, slope
FROM (
    SELECT h.*, g.slope AS total,
        row_number() OVER (PARTITION BY kind, name ORDER BY h.slope DESC, host) AS place
    FROM of_hosts h JOIN growing g USING (kind, name)
)
WHERE place <= 3 ORDER BY total DESC, kind, name, place
"""
_NAMED = (Column("kind"), Column("name"))
COLUMNS = (
    *_NAMED,
    Column("per day", "int64", "bytes", "bytes_per_day"),
    Column("hosts", "int64", "count"),
    Column("median", "int64", "bytes", "bytes_per_day_p50", spare=2),
    Column("max", "int64", "bytes", "bytes_per_day_max", spare=1),
    Column("steepest", key="steepest_host"),
)
HOSTS = (*_NAMED, Column("host"), Column("per day", "int64", "bytes", "bytes_per_day"))
_MOST = 1 << 40


def report(fleet: "Fleet", top: int) -> FleetReport:
    """Return the first `top` owners, 0 for all, those that grow most over all hosts first."""
    fleet.tables(["snapshots", "owners"])
    fleet.rows(_WEIGHTS)
    ((hosts,),) = fleet.rows("SELECT count(DISTINCT host) FROM weights")
    fleet.rows(_OWNERS, {"top": top + 1 if top else _MOST})
    fleet.rows(_BY_HOST)
    rows, _ = cut(fleet.rows(_SUMMARY), top)
    chosen = {row[:2] for row in rows}
    steepest = [row for row in fleet.rows(_STEEPEST) if row[:2] in chosen]
    once = fleet.hosts - hosts
    ((others, rebooted),) = fleet.rows(_OTHER_BOOTS)
    return answer(
        fleet,
        "growth",
        ("", Table("owners", COLUMNS, rows)),
        ("Where these grow most:", Table("steepest", HOSTS, steepest)),
        remarks=(
            f"{counted(others, 'snapshot')} of other boots of {counted(rebooted, 'host')} left "
            "out: slopes are of the newest boot that has two."
            if others
            else "",
            f"Hosts without two snapshots of owners of one boot, which have no slope: {once}."
            if once and hosts
            else "",
        ),
        empty="At least two snapshots of one boot of a host are needed, which have owners.",
    )
