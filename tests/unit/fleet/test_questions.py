# SPDX-License-Identifier: GPL-2.0-only
"""Each report of a small fleet, beside the same computed in plain Python and numpy."""

import io
import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any

import fleet_by_hand
import numpy as np
import pytest
from fleet_by_hand import ESCAPE, HOSTS, LEAK, SPANNED, Moment

from pageinspect.fleet.engine import Choice, opened
from pageinspect.fleet.questions import QUESTIONS, ask
from pageinspect.model.table import Absent, Table
from pageinspect.render import render

MOMENTS = fleet_by_hand.moments()
GOOD = [m for m in MOMENTS if m.error is None]
DAY = 86400.0


def asked(
    dataset: Path, question: str, top: int = 0, choice: Choice | None = None
) -> Mapping[str, list[dict[str, Any]]]:
    """Return the rows of each table of a report, by the keys of the columns."""
    with opened(dataset, choice) as fleet:
        report = ask(fleet, question, top)
        return {table.name: list(table.records()) for table in report.tables()}


def newest(moments: Sequence[Moment] = GOOD) -> list[Moment]:
    return [max((m for m in moments if m.host == h), key=lambda m: m.at) for h in HOSTS]


def rank(values: Sequence[float], percent: int) -> float:
    """Return a percentile by nearest rank."""
    return sorted(values)[math.ceil(len(values) * percent / 100) - 1]


def first_three(values: Mapping[str, int], sign: int) -> list[str]:
    return sorted(values, key=lambda host: (sign * values[host], host))[:3]


def test_uses(dataset: Path) -> None:
    now = newest()
    expected = []
    for use in {use for m in now for use in m.uses}:
        pages = {m.host: m.uses.get(use, 0) for m in now}
        values = list(pages.values())
        expected.append(
            {
                "use": use,
                "hosts": sum(n > 0 for n in values),
                "pages_min": min(values),
                "pages_p50": rank(values, 50),
                "pages_p99": rank(values, 99),
                "pages_max": max(values),
                "lowest_hosts": first_three(pages, 1),
                "highest_hosts": first_three(pages, -1),
            }
        )
    expected.sort(key=lambda row: -row["pages_p50"])
    assert asked(dataset, "uses") == {"uses": expected}
    assert [row["use"] for row in asked(dataset, "uses", 2)["uses"]] == ["buddy", "slab"]


def slopes(moments: Sequence[Moment]) -> dict[tuple[str, str], dict[str, float]]:
    """Return bytes per day by owner and host: numpy's least squares over the newest boot of two."""
    found: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    for host in HOSTS:
        of_host = sorted((m for m in moments if m.host == host), key=lambda m: m.at)
        boots = Counter(m.boot for m in of_host)
        several = [m.boot for m in of_host if boots[m.boot] > 1]
        if not several:
            continue
        of_host = [m for m in of_host if m.boot == several[-1]]
        days = [m.at.timestamp() / DAY for m in of_host]
        for owner in {owner for m in of_host for owner in m.owners}:
            pages = [4096 * m.owners.get(owner, 0) for m in of_host]
            found[owner][host] = np.polyfit(np.array(days) - days[0], pages, 1)[0]
    return found


def test_growth(dataset: Path) -> None:
    found = asked(dataset, "growth")
    expected = slopes(GOOD)
    order = sorted(expected, key=lambda owner: -sum(expected[owner].values()))
    assert [(row["kind"], row["name"]) for row in found["owners"]] == order
    for row in found["owners"]:
        of_hosts = expected[row["kind"], row["name"]]
        assert row["bytes_per_day"] == pytest.approx(sum(of_hosts.values()), abs=1)
        assert row["hosts"] == len(of_hosts)
        assert row["bytes_per_day_p50"] == pytest.approx(rank([*of_hosts.values()], 50), abs=1)
        assert row["bytes_per_day_max"] == pytest.approx(max(of_hosts.values()), abs=1)
        assert row["bytes_per_day_max"] == pytest.approx(of_hosts[row["steepest_host"]], abs=1)
    for row in found["steepest"]:
        slope = expected[row["kind"], row["name"]][row["host"]]
        assert row["bytes_per_day"] == pytest.approx(slope, abs=1)
    assert found["owners"][0]["steepest_host"] == "db-1"
    assert (found["owners"][0]["kind"], found["owners"][0]["name"]) == LEAK
    first = asked(dataset, "growth", 1)
    assert first["owners"] == found["owners"][:1]
    assert first["steepest"] == found["steepest"][:1]


def test_growth_of_owners_that_came_counts_from_nothing(dataset: Path) -> None:
    (row,) = [r for r in asked(dataset, "growth")["owners"] if r["name"] == "/var/log/new"]
    # 16384 pages on the last of four days: the weights of the days are -0.3, -0.1, 0.1, 0.3.
    assert row["bytes_per_day"] == pytest.approx(0.3 * 16384 * 4096, abs=1)


def test_contiguity(dataset: Path) -> None:
    found = asked(dataset, "contiguity")
    now = newest()
    free = {m.host: sum(block[0] == 512 for block in m.blocks) for m in now}
    share = {m.host: 100 * sum(b[1] > 0 for b in m.blocks) / len(m.blocks) for m in now}
    pages = [unmovable for m in now for _, unmovable in m.blocks]
    (fleet,) = found["fleet"]
    assert fleet == {
        "hosts": 5,
        "hosts_without_free": 1,
        "hosts_without_free_percent": 20.0,
        "blocks": len(pages),
        "free_blocks": sum(free.values()),
        "blocks_with_unmovable": sum(n > 0 for n in pages),
        "unmovable_percent": 100 * sum(n > 0 for n in pages) / len(pages),
    }
    for row, values in zip(found["spread"], (free, share, dict(enumerate(pages))), strict=True):
        numbers = [*values.values()]
        expected = (rank(numbers, 50), rank(numbers, 99), max(numbers))
        assert (row["p50"], row["p99"], row["max"]) == expected
    assert [row["highest_host"] for row in found["spread"]] == ["db-1", "web-1", None]
    order = sorted(HOSTS, key=lambda host: (free[host] > 0, -share[host], host))
    assert [row["host"] for row in found["hosts"]] == order
    assert order[0] == "web-3"


def outlying() -> list[Moment]:
    """Return twelve hosts of one release: one with a large cache, one without its file cache."""
    at = datetime(2026, 11, 2, tzinfo=UTC)
    made = []
    for n in range(12):
        owners = {
            ("slab", "dentry"): 40_000 + 300 * n,
            ("slab", "kmalloc-64"): 5000,
            ("file", "/srv/data"): 200_000 + 2000 * n,
            ("static", ""): 9000 + (n == 7),
        }
        if n == 4:
            owners["slab", "filp"] = 90_000
        if n == 9:
            del owners["file", "/srv/data"]
        made.append(Moment(f"host-{n:02}", at, "7.3.4", uses={"slab": 1}, owners=owners))
    few = [replace(made[0], host=f"few-{n}", release="6.1.0") for n in range(4)]
    return [*made, *few]


def test_outliers(tmp_path: Path) -> None:
    made = outlying()
    fleet_by_hand.write(tmp_path / "dataset", made)
    found = asked(tmp_path / "dataset", "outliers")["outliers"]
    peers = [m for m in made if m.release == "7.3.4"]
    expected = {}
    for kind in ("slab", "file", "static"):
        of_kind = {m.host: sum(n for (k, _), n in m.owners.items() if k == kind) for m in peers}
        shares = {host: 100 * n / SPANNED for host, n in of_kind.items()}
        middle = median(shares.values())
        deviation = max(1.4826 * median(abs(s - middle) for s in shares.values()), 0.1)
        for host, value in shares.items():
            if abs(value - middle) > 3.5 * deviation:
                expected[host, kind] = ((value - middle) / deviation, of_kind[host], value, middle)
    assert set(expected) == {("host-04", "slab"), ("host-09", "file")}
    for row in found:
        score, pages, share, middle = expected.pop((row["host"], row["kind"]))
        assert row["score"] == pytest.approx(score)
        assert row["pages"] == pages
        assert row["percent"] == pytest.approx(share)
        assert row["percent_p50"] == pytest.approx(middle)
    assert not expected
    named = {row["host"]: (row["name"], row["name_pages"], row["name_pages_p50"]) for row in found}
    assert named["host-04"] == ("filp", 90_000, 0)
    # Eleven of twelve have it: the sixth of twelve values, the first of which is 0.
    usual = sorted([0, *(200_000 + 2000 * n for n in range(12) if n != 9)])[5]
    assert named["host-09"] == ("/srv/data", 0, usual)
    assert found[0]["host"] == max(found, key=lambda row: abs(row["score"]))["host"]
    with opened(tmp_path / "dataset") as fleet:
        (line,) = [line for line in ask(fleet, "outliers").view().lines_after() if "fewer" in line]
    assert line == "Hosts of releases with fewer than 5 hosts, which are not compared: 4."


def test_uses_are_those_of_snapshots_of_memory(tmp_path: Path) -> None:
    fleet_by_hand.write(tmp_path, GOOD)
    before = asked(tmp_path, "uses")
    later = Moment("db-1", datetime(2026, 11, 20, tzinfo=UTC), "7.3.4", frees=GOOD[0].frees)
    fleet_by_hand.write(tmp_path, [later])
    assert asked(tmp_path, "uses") == before


def test_frees(dataset: Path) -> None:
    frees: Counter[tuple[Any, ...]] = Counter()
    pages: Counter[tuple[Any, ...]] = Counter()
    hosts = defaultdict(set)
    for m in GOOD:
        for kind, caller, n, freed, expected, disallowed in m.frees:
            key = (kind, caller, expected, disallowed)
            frees[key] += n
            pages[key] += freed
            hosts[key].add(m.host)
    found = asked(dataset, "frees")["frees"]
    order = sorted(frees, key=lambda k: (not k[3], k[2], -frees[k]))
    assert order[0] == ("buddy", None, False, True)
    keys = ("type", "caller", "expected", "disallowed")
    assert [tuple(row[key] for key in keys) for row in found] == order
    for row, key in zip(found, order, strict=True):
        assert (row["frees"], row["pages"], row["hosts"]) == (
            frees[key],
            pages[key],
            len(hosts[key]),
        )
        assert row["frees_per_second"] == pytest.approx(frees[key] / (60 * 4 * len(hosts[key])))
        assert row["highest_host"] in hosts[key]


def test_hosts(dataset: Path) -> None:
    found = asked(dataset, "hosts")["hosts"]
    assert [row["host"] for row in found] == sorted(HOSTS)
    for row in found:
        of_host = sorted((m for m in MOMENTS if m.host == row["host"]), key=lambda m: m.at)
        assert row == {
            "host": row["host"],
            "release": of_host[-1].release,
            "releases": sorted({m.release for m in of_host}),
            "first": of_host[0].time,
            "last": of_host[-1].time,
            "snapshots": len(of_host),
            "boots": len({m.boot for m in of_host}),
            "errors": sum(m.error is not None for m in of_host),
            "last_error": next((m.error for m in of_host[::-1] if m.error), None),
        }
    assert {row["boots"] for row in found if row["host"] == "web-1"} == {2}


def test_snapshots(dataset: Path) -> None:
    order = sorted(MOMENTS, key=lambda m: m.host)
    order.sort(key=lambda m: m.at, reverse=True)
    assert asked(dataset, "snapshots")["snapshots"] == [
        {
            "host": m.host,
            "time": m.time,
            "release": m.release,
            "source": m.source,
            "pages": SPANNED,
            "error": m.error,
        }
        for m in order
    ]


def test_hosts_whose_release_changed(tmp_path: Path) -> None:
    first = GOOD[0]
    several = [
        replace(first, at=first.at + timedelta(days=n), release=release)
        for n, release in enumerate(("6.1.1", "7.3.4", "6.12.9"))
    ]
    fleet_by_hand.write(tmp_path / "two", several[:2])
    fleet_by_hand.write(tmp_path / "three", several)
    for name, shown in (("two", "6.1.1, 7.3.4"), ("three", "6.1.1 … 7.3.4 (3)")):
        with opened(tmp_path / name) as fleet:
            (table,) = ask(fleet, "hosts").tables()
        (column,) = [column for column in table.columns if column.key == "releases"]
        (row,) = table.records()
        assert column.for_people()(row["releases"]) == shown
    assert row["release"] == "6.12.9"


CHOICES = {
    "since": (Choice(since="20261104T050000Z"), lambda m: m.time >= "20261104T050000Z"),
    "hosts": (Choice(host="web-[12]"), lambda m: m.host in ("web-1", "web-2")),
    "a host with a slash": (Choice(host="web-*/5"), lambda m: m.host == ESCAPE),
    "a condition": (Choice(where="source = 'core'"), lambda m: m.source == "core"),
    "a condition with or": (
        Choice(where="source = 'core' OR boot_id LIKE 'boot-%' -- these"),
        lambda m: m.source == "core" or m.boot.startswith("boot-"),
    ),
    "all": (
        Choice("20261104T000000Z", "web*", "release LIKE '7.%'"),
        lambda m: m.at.day >= 4 and m.host.startswith("web") and m.release == "7.3.4",
    ),
}


@pytest.mark.parametrize("choice", CHOICES)
def test_only_snapshots_that_were_chosen_count(choice: str, dataset: Path) -> None:
    chosen, counts = CHOICES[choice]
    expected = Counter(m.host for m in MOMENTS if counts(m))
    assert 0 < len(expected) <= 5
    found = asked(dataset, "hosts", 0, chosen)["hosts"]
    assert {row["host"]: row["snapshots"] for row in found} == expected
    grown = slopes([m for m in GOOD if counts(m)])
    for row in asked(dataset, "growth", 0, chosen)["owners"]:
        of_hosts = grown[row["kind"], row["name"]]
        assert row["bytes_per_day"] == pytest.approx(sum(of_hosts.values()), abs=1)
    total = sum(row["pages"] for row in asked(dataset, "frees", 0, chosen)["frees"])
    assert total == sum(free[3] for m in GOOD if counts(m) for free in m.frees)


DTYPES = {
    "int64": int,
    "float64": float,
    "bool": bool,
    "string": str,
    "list[string]": tuple,
    "map[string,int64]": dict,
}


def cells(table: Table) -> Iterator[tuple[Any, Any]]:
    for row in table.rows:
        yield from zip(table.columns, row, strict=True)


@pytest.mark.parametrize("question", QUESTIONS)
def test_cells_are_what_their_columns_declare(question: str, dataset: Path) -> None:
    with opened(dataset) as fleet:
        for table in ask(fleet, question).tables():
            assert table.rows or question == "outliers"
            for column, cell in cells(table):
                if isinstance(cell, Absent):
                    assert cell in column.absent
                else:
                    assert type(cell) is DTYPES[column.dtype], (column, cell)


@pytest.mark.parametrize("question", QUESTIONS)
def test_tables_without_rows_are_answers_too(question: str, tmp_path: Path) -> None:
    """A snapshot that has an error, and no other table."""
    (failed,) = [m for m in MOMENTS if m.error]
    fleet_by_hand.write(tmp_path / "dataset", [failed])
    rows = asked(tmp_path / "dataset", question)
    assert question in ("hosts", "snapshots") or not any(rows.values())


EMPTY = {
    "uses": "No snapshot has pages by use.",
    "growth": "At least two snapshots",
    "contiguity": "No snapshot has blocks.",
    "outliers": "No host was compared",
    "frees": "No frees in these snapshots: pageinspect trace --every SECONDS adds them.",
}


@pytest.mark.parametrize("form", ["table", "markdown"])
@pytest.mark.parametrize("question", EMPTY)
def test_a_sentence_in_place_of_an_empty_table(question: str, form: str, tmp_path: Path) -> None:
    (failed,) = [m for m in MOMENTS if m.error]
    fleet_by_hand.write(tmp_path / "dataset", [failed])
    stream = io.StringIO()
    with opened(tmp_path / "dataset") as fleet:
        render(ask(fleet, question), form, stream)
    first, second, *others = stream.getvalue().split("\n\n")
    assert first == "1 snapshot of 1 host"
    assert second.replace("\n", " ").startswith(EMPTY[question])
    assert "---" not in stream.getvalue()
    titles = [text for text in others if text.endswith(":") and not text.endswith("See:")]
    assert not titles
    assert not any(text.startswith("\n") for text in others)


def test_no_host_is_far(tmp_path: Path) -> None:
    same = [replace(GOOD[0], host=f"host-{n}") for n in range(5)]
    fleet_by_hand.write(tmp_path / "dataset", same)
    with opened(tmp_path / "dataset") as fleet:
        view = ask(fleet, "outliers").view()
    assert view.lines_after() == ("", "No host is far from its peers.")


def test_growth_needs_two_snapshots(tmp_path: Path) -> None:
    twice = [replace(GOOD[0], at=GOOD[0].at + timedelta(days=n)) for n in range(2)]
    fleet_by_hand.write(tmp_path / "dataset", [*twice, GOOD[4]])
    with opened(tmp_path / "dataset") as fleet:
        report = ask(fleet, "growth")
    once = "Hosts without two snapshots of owners of one boot, which have no slope: 1."
    assert once in report.remarks


def test_growth_is_within_one_boot(tmp_path: Path) -> None:
    """The newest boot has one snapshot; an older one has two, and a slope of 1000 pages a day."""
    boots = {"a": (9000, 1), "b": (1000, 2000), "c": (500,)}
    pages = [(boot, n) for boot, amounts in boots.items() for n in amounts]
    made = [
        replace(GOOD[0], at=GOOD[0].at + timedelta(days=day), boot=boot, owners={LEAK: n})
        for day, (boot, n) in enumerate(pages)
    ]
    fleet_by_hand.write(tmp_path / "dataset", made)
    with opened(tmp_path / "dataset") as fleet:
        report = ask(fleet, "growth")
    (row,) = report.tables()[0].records()
    assert row["bytes_per_day"] == 1000 * 4096
    assert any(
        text.startswith("3 snapshots of other boots of 1 host left") for text in report.remarks
    )
    with opened(tmp_path / "dataset", Choice(where="boot_id = 'a'")) as fleet:
        (row,) = ask(fleet, "growth").tables()[0].records()
    assert row["bytes_per_day"] == -8999 * 4096
