# SPDX-License-Identifier: GPL-2.0-only
"""Hosts that are far from their peers, and the owner that makes the difference.

Peers are the hosts of the same release, each at its newest snapshot. For each kind of owner, the
share of memory is compared by the robust z-score: the distance from the median of the peers over
1.4826 times the median absolute deviation, which is the standard deviation of normal values.
Iglewicz and Hoaglin (How to Detect and Handle Outliers, 1993) give 3.5 as the limit.
"""

from typing import TYPE_CHECKING

from ..model.table import Absent, Column, Table
from .answer import FleetReport, answer
from .engine import cut

if TYPE_CHECKING:
    from .engine import Fleet

NEEDS: tuple[str, ...] = ("owners",)
"""The tables that are read beside snapshots."""

LIMIT = 3.5
"""Hosts with a higher absolute score are outliers."""
LEAST_DEVIATION = 0.1
"""Percent of memory: the least deviation that scores are relative to. An owner that has the same
pages on most hosts then makes no outlier of a host with a few more."""
LEAST_PEERS = 5
"""Hosts of a release that has fewer are not compared."""

_SCORES = """
CREATE TEMP TABLE far AS
WITH counted AS (SELECT host, kind, sum(pages) AS pages FROM newest_owners GROUP BY host, kind),
every AS (
    SELECT host, release, kind, coalesce(pages, 0)::BIGINT AS pages,
        coalesce(100.0 * pages / spanned, 0) AS share
    FROM newest
    JOIN (SELECT DISTINCT release, kind FROM counted JOIN newest USING (host)) USING (release)
    LEFT JOIN counted USING (host, kind)
    WHERE spanned > 0
),
middle AS (
    SELECT release, kind, median(share) AS middle
    FROM every GROUP BY release, kind HAVING count(*) >= $peers
),
deviation AS (
    SELECT release, kind, any_value(middle) AS middle,
        greatest(1.4826 * median(abs(share - middle)), $least) AS deviation
    FROM every JOIN middle USING (release, kind) GROUP BY release, kind
)
SELECT host, release, kind, (share - middle) / deviation AS score, pages, share, middle
FROM every JOIN deviation USING (release, kind)
WHERE abs(share - middle) > $far * deviation
ORDER BY abs(score) DESC, host, kind LIMIT $top
"""
_NAMES = """
WITH peers AS (SELECT release, count(*) AS n FROM newest WHERE spanned > 0 GROUP BY release),
named AS (
    SELECT release, host, kind, name, sum(pages)::BIGINT AS pages
    FROM newest_owners JOIN newest USING (host) SEMI JOIN far USING (release, kind)
    WHERE spanned > 0 GROUP BY ALL
),
usual AS (
    SELECT release, kind, name, list_sort(list(pages))[(n + 1) // 2 - (n - count(*))] AS usual
    FROM named JOIN peers USING (release) GROUP BY release, kind, name, n
    HAVING (n + 1) // 2 > n - count(*)
),
candidates AS (
    SELECT host, release, kind, name FROM far JOIN usual USING (release, kind)
    UNION
    SELECT host, release, kind, name FROM far JOIN named USING (host, release, kind)
),
compared AS (
    SELECT c.host, c.kind, c.name, coalesce(n.pages, 0) AS pages, coalesce(usual, 0) AS usual,
        sign(score) * (coalesce(n.pages, 0) - coalesce(usual, 0)) AS distance
    FROM candidates c JOIN far f USING (host, kind)
    LEFT JOIN named n ON n.host = c.host AND n.kind = c.kind AND n.name = c.name
    LEFT JOIN usual u ON u.release = c.release AND u.kind = c.kind AND u.name = c.name
)
SELECT host, kind, arg_min({name: name, pages: pages, usual: usual}, (-distance, name))
FROM compared GROUP BY host, kind
"""
COLUMNS = (
    Column("host"),
    Column("release", spare=2),
    Column("kind"),
    Column("score", "float64", show="{:+,.1f}".format),
    Column("pages", "int64", "pages", spare=3),
    Column("%", "float64", "percent", "percent"),
    Column("% of peers", "float64", "percent", "percent_p50"),
    Column("name", absent=(Absent.NOT_APPLICABLE,)),
    Column("its pages", "int64", "pages", "name_pages"),
    Column("of peers", "int64", "pages", "name_pages_p50", spare=1),
)
_MOST = 1 << 40


def report(fleet: "Fleet", top: int) -> FleetReport:
    """Return the first `top` outliers, 0 for all, the highest absolute scores first."""
    fleet.newest("owners")
    values = {"peers": LEAST_PEERS, "least": LEAST_DEVIATION, "far": LIMIT}
    fleet.rows(_SCORES, {**values, "top": top + 1 if top else _MOST})
    names = {(host, kind): name for host, kind, name in fleet.rows(_NAMES)}
    far = fleet.rows("SELECT * FROM far ORDER BY abs(score) DESC, host, kind")
    shown, more = cut(far, top)
    cells = []
    for row in shown:
        name, pages, usual = names[row[0], row[2]].values()
        cells.append((*row, name or Absent.NOT_APPLICABLE, pages, usual))
    ((few, every),) = fleet.rows(
        "SELECT count(*), (SELECT count(*) FROM newest) FROM newest SEMI JOIN "
        "(SELECT release FROM newest GROUP BY release HAVING count(*) < $peers) USING (release)",
        {"peers": LEAST_PEERS},
    )
    return answer(
        fleet,
        "outliers",
        ("", Table("outliers", COLUMNS, cells)),
        remarks=(
            "There are more outliers: --top 0 shows all." if more else "",
            f"Hosts of releases with fewer than {LEAST_PEERS} hosts, which are not compared: {few}."
            if few
            else "",
        ),
        empty="No host is far from its peers."
        if few < every
        else f"No host was compared: a release needs {LEAST_PEERS} hosts with owners.",
    )
