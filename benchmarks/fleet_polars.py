# SPDX-License-Identifier: GPL-2.0-only
"""The questions of `fleet` as plain Polars scripts: python fleet_polars.py DATASET QUESTION."""

import sys
from pathlib import Path

import polars as pl

TOP = 10
DAY_US = 86400e6


def table(dataset: Path, name: str) -> pl.LazyFrame:
    """Return the files of a table, all of which are of whole days."""
    pattern = f"{dataset}/{name}/**/*.parquet"
    return pl.scan_parquet(pattern, hive_partitioning=False).with_columns(
        pl.col("host").cast(pl.String)
    )


def newest_of(dataset: Path) -> pl.LazyFrame:
    """Return the newest snapshot of each host."""
    return (
        table(dataset, "snapshots")
        .filter(pl.col("error").is_null())
        .select("host", "time", pl.col("release").cast(pl.String), "spanned")
        .group_by("host")
        .agg(pl.all().sort_by("time").last())
    )


def at_newest(dataset: Path, name: str) -> pl.LazyFrame:
    """Return the rows of a table at the newest snapshots, which are in the file of the last day."""
    path = max((dataset / name).glob("day=*/*.parquet"))
    rows = pl.scan_parquet(path, hive_partitioning=False)
    return rows.with_columns(pl.col("host").cast(pl.String)).join(
        newest_of(dataset).select("host", "time"), on=["host", "time"], how="semi"
    )


def uses(dataset: Path) -> pl.LazyFrame:
    """Spread of the pages of each use over all hosts, with the hosts at its ends."""
    at = (
        at_newest(dataset, "snapshots")
        .select("host", pl.col("uses").map.entries())
        .collect()
        .lazy()
    )
    entry = pl.col("uses").struct
    found = at.explode("uses").select(
        "host", entry.field("key").alias("use"), entry.field("value").alias("pages")
    )
    pages = pl.col("pages")
    return (
        at.select("host")
        .join(found.select("use").unique(), how="cross")
        .join(found, on=["host", "use"], how="left")
        .with_columns(pages.fill_null(0))
        .group_by("use")
        .agg(
            (pages > 0).sum().alias("hosts"),
            pages.min().alias("min"),
            pages.quantile(0.5, "lower").alias("median"),
            pages.quantile(0.99, "lower").alias("p99"),
            pages.max().alias("max"),
            pl.col("host").sort_by("pages", "host").head(3).alias("lowest"),
            pl.col("host").sort_by(-pages, "host").head(3).alias("highest"),
        )
        .sort("median", descending=True)
        .head(TOP)
    )


def growth(dataset: Path) -> pl.LazyFrame:
    """Slopes of owners by least squares, with 0 pages where a snapshot lacks the owner.

    Of each host, the newest boot with two snapshots counts.
    """
    day = pl.col("time").cast(pl.Int64) / DAY_US
    boot = pl.coalesce("boot_id", pl.col("boot_time").cast(pl.String), "release")
    weights = (
        table(dataset, "snapshots")
        .filter(pl.col("error").is_null())
        .with_columns(boot.cast(pl.String).alias("boot"))
        .filter(pl.len().over("host", "boot") > 1)
        .filter(pl.col("time").max().over("host", "boot") == pl.col("time").max().over("host"))
        .select("host", "time", "page_size", t=day - day.mean().over("host"))
        .select(
            "host",
            "time",
            weight=pl.col("page_size") * pl.col("t") / (pl.col("t") ** 2).sum().over("host"),
        )
    )
    owners = table(dataset, "owners").select(
        "host", "time", pl.col("kind").cast(pl.String), pl.col("name").cast(pl.String), "pages"
    )
    slope = (pl.col("pages") * pl.col("weight")).sum().alias("slope")
    weighted = owners.join(weights, on=["host", "time"])
    first = weighted.group_by("kind", "name").agg(slope).sort("slope", descending=True).head(TOP)
    first = first.collect(engine="streaming").lazy()
    return (
        weighted.join(first.select("kind", "name"), on=["kind", "name"], how="semi")
        .group_by("kind", "name", "host")
        .agg(slope)
        .group_by("kind", "name")
        .agg(
            pl.col("slope").sum().alias("per_day"),
            pl.len().alias("hosts"),
            pl.col("slope").quantile(0.5, "lower").alias("median"),
            pl.col("slope").max().alias("max"),
            pl.col("host").sort_by("slope", descending=True).head(3).alias("steepest"),
        )
        .sort("per_day", descending=True)
    )


def contiguity(dataset: Path) -> pl.LazyFrame:
    """Hosts without a free block, and unmovable pages of blocks."""
    rows = at_newest(dataset, "blocks").select("host", "free", "unmovable")
    hosts = rows.group_by("host").agg(
        pl.len().alias("blocks"),
        (pl.col("free") >= 512).sum().alias("free"),
        (pl.col("unmovable") > 0).sum().alias("with_unmovable"),
    )
    share = 100 * pl.col("with_unmovable") / pl.col("blocks")
    worst = hosts.with_columns(percent=share).sort("free", -pl.col("percent")).head(TOP).collect()
    print(worst)
    unmovable = pl.col("unmovable")
    blocks = rows.select(
        unmovable.quantile(0.5).alias("p50"),
        unmovable.quantile(0.99).alias("p99"),
        unmovable.max().alias("max"),
    ).collect(engine="streaming")
    print(blocks)
    return hosts.select(
        pl.len().alias("hosts"),
        (pl.col("free") == 0).sum().alias("without_free"),
        pl.col("blocks").sum(),
        share.quantile(0.5).alias("p50"),
        share.quantile(0.99).alias("p99"),
        share.max().alias("max"),
    )


def outliers(dataset: Path) -> pl.LazyFrame:
    """Robust z-scores of the shares of kinds, and for each outlier the name that makes it."""
    newest = newest_of(dataset)
    named = (
        at_newest(dataset, "owners")
        .select("host", pl.col("kind").cast(pl.String), pl.col("name").cast(pl.String), "pages")
        .join(newest.select("host", "release", "spanned"), on="host")
    )
    shares = named.group_by("host", "release", "kind").agg(
        share=100 * pl.col("pages").sum() / pl.col("spanned").first()
    )
    middle = pl.col("share").median().over("release", "kind")
    scored = shares.with_columns(distance=pl.col("share") - middle)
    deviation = (1.4826 * pl.col("distance").abs().median().over("release", "kind")).clip(0.1)
    far = (
        scored.with_columns(score=pl.col("distance") / deviation)
        .filter(pl.col("score").abs() > 3.5)
        .sort(pl.col("score").abs(), descending=True)
        .head(TOP)
        .collect(engine="streaming")
        .lazy()
    )
    of_kinds = named.join(
        far.select("release", "kind").unique(), on=["release", "kind"], how="semi"
    )
    usual = of_kinds.group_by("release", "kind", "name").agg(usual=pl.col("pages").median())
    return (
        of_kinds.join(far.select("host", "kind", "score"), on=["host", "kind"])
        .join(usual, on=["release", "kind", "name"])
        .with_columns(away=pl.col("score").sign() * (pl.col("pages") - pl.col("usual")))
        .group_by("host", "kind")
        .agg(pl.col("score").first(), pl.col("name").sort_by("away").last())
        .sort(pl.col("score").abs(), descending=True)
    )


def frees(dataset: Path) -> pl.LazyFrame:
    """Frees by type and caller."""
    return (
        table(dataset, "frees")
        .with_columns(pl.col("type").cast(pl.String), pl.col("caller").cast(pl.String))
        .group_by("type", "caller", "expected", "disallowed")
        .agg(
            pl.col("frees").sum(),
            pl.col("pages").sum(),
            pl.col("host").n_unique().alias("hosts"),
            (pl.col("frees").sum() / pl.col("seconds").sum()).alias("rate"),
            pl.col("host").sort_by("frees").last().alias("most"),
        )
        .sort("disallowed", ~pl.col("expected"), "frees", descending=True)
        .head(TOP)
    )


def hosts(dataset: Path) -> pl.LazyFrame:
    """Hosts, with the times of their snapshots, boots and errors."""
    return (
        table(dataset, "snapshots")
        .group_by("host")
        .agg(
            pl.col("release").sort_by("time").last(),
            pl.col("release").unique().sort().alias("releases"),
            pl.col("time").min().alias("first"),
            pl.col("time").max().alias("last"),
            pl.len().alias("snapshots"),
            pl.coalesce("boot_id", pl.col("boot_time").cast(pl.String)).n_unique().alias("boots"),
            pl.col("error").count().alias("errors"),
            pl.col("error").sort_by("time").last().alias("last_error"),
        )
        .sort("host")
        .head(TOP)
    )


def snapshots(dataset: Path) -> pl.LazyFrame:
    """Snapshots, the newest first."""
    columns = ("host", "time", "release", "source", "spanned", "error")
    found = table(dataset, "snapshots").select(columns)
    return found.sort("time", "host", descending=[True, False]).head(TOP)


_ALL = (uses, growth, contiguity, outliers, frees, hosts, snapshots)
QUESTIONS = {f.__name__: f for f in _ALL}

if __name__ == "__main__":
    print(QUESTIONS[sys.argv[2]](Path(sys.argv[1])).collect(engine="streaming"))
