# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots of dumps of guests, against the guests' own files of the same moment."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from owned_guest import Owned, pageinspect

from pageinspect.dataset.read import read_snapshot, snapshots
from pageinspect.model.kpageflags import Kpf
from pageinspect.model.snapshot import Names, Snapshot, SnapshotTable

# The oldest and the newest kernel stand for what is between them.
pytestmark = pytest.mark.kernels("newest", "6.1")

MOST_RUNS, MOST = 60 << 10, 120 << 10
"""Bytes of the files of an idle guest: the table runs, and all."""


def taken(core: Path, folder: Path) -> Snapshot:
    """Return the only snapshot of a new dataset, which the command has written."""
    told = pageinspect("snapshot", core, "-o", folder)
    assert (told.returncode, told.stderr) == (0, "")
    (entry,) = snapshots(folder)
    assert told.stdout.startswith(f"{entry.host} {entry.time}: ")
    return read_snapshot(folder, entry.host, entry.time)


@pytest.fixture(scope="module")
def snapshot(owned: Owned, tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return taken(owned.core, tmp_path_factory.mktemp("snapshot") / "data")


def sums(table: SnapshotTable, *columns: str) -> Counter[tuple[Any, ...]]:
    """Return pages by the values of columns."""
    found: Counter[tuple[Any, ...]] = Counter()
    values = (table[name].tolist() for name in columns)
    for pages, *key in zip(table["pages"].tolist(), *values, strict=True):
        found[tuple(key)] += pages
    return found


def spread(snapshot: Snapshot, length: int, column: str, *names: str) -> npt.NDArray[np.bool_]:
    """Return whether each pfn from 0 is in a run with one of these names."""
    runs, found = snapshot.tables["runs"], np.zeros(length, np.bool_)
    of_runs: Names = runs[column]
    wanted = np.isin(np.array(of_runs.tolist()), names)
    for pfn, pages in zip(runs["pfn"][wanted], runs["pages"][wanted], strict=True):
        found[pfn : pfn + pages] = True
    return found


def heads(snapshot: Snapshot, length: int) -> npt.NDArray[np.bool_]:
    """Return whether each pfn is the head of a folio of more than one page, or of a free block."""
    runs, found = snapshot.tables["runs"], np.zeros(length, np.bool_)
    columns = (runs[name].tolist() for name in ("pfn", "pages", "folios", "order"))
    for pfn, pages, folios, order in zip(*columns, strict=True):
        multiples = range(-(-pfn >> order << order), pfn + pages, 1 << order)
        if order and folios == len(multiples):
            found[multiples.start : multiples.stop : multiples.step] = True
        elif order and folios:
            found[pfn : pfn + pages] = True
    return found


def test_types_and_heads_are_those_of_kpageflags(owned: Owned, snapshot: Snapshot) -> None:
    flags = owned.pages_of("kpageflags")
    n = len(flags)

    def has(flag: int) -> npt.NDArray[np.bool_]:
        return flags & np.uint64(1 << flag) != 0

    def differ(ours: npt.NDArray[np.bool_], flag: int) -> list[int]:
        pfns: list[int] = np.flatnonzero(owned.stayed & (ours != has(flag))).tolist()
        return pfns

    for name, flag in (("slab", Kpf.SLAB), ("table", Kpf.PGTABLE), ("hugetlb", Kpf.HUGE)):
        assert differ(spread(snapshot, n, "type", name), flag) == [], name
    free = spread(snapshot, n, "use", "buddy", "pcp")
    found = heads(snapshot, n) & ~free
    assert found.any()
    assert differ(found, Kpf.COMPOUND_HEAD) == []


def test_totals_are_those_of_the_reports(owned: Owned, snapshot: Snapshot) -> None:
    runs, owners = snapshot.tables["runs"], snapshot.tables["owners"]
    for by in ("use", "type", "zone"):
        rows = owned.said_by("summary", "--by", by)["rows"]
        assert sums(runs, by) == {(row["name"],): row["pages"] for row in rows}
    assert sums(owners, "kind") == {
        (row["kind"],): row["pages"] for row in owned.said_by("owners")["rows"]
    }
    by_id = {owner: pages for (owner,), pages in sums(runs, "owner").items()}
    assert by_id == dict(zip(owners["id"].tolist(), owners["pages"].tolist(), strict=True))
    charged = {(row["name"], row["kind"]): row["pages"] for row in owned.rows("cgroup")}
    assert sums(snapshot.tables["cgroups"], "cgroup", "kind") == charged


def test_processes_are_those_of_the_guest(owned: Owned, snapshot: Snapshot) -> None:
    table = snapshot.tables["processes"]
    found = dict(zip(table["pid"].tolist(), table["rss"].tolist(), strict=True))
    rows = owned.said_by("processes")["rows"]
    assert found == {row["pid"]: row["rss"] for row in rows}
    assert {owned.witness["pids"]["tree"], 1} <= found.keys()


def test_counters_agree(snapshot: Snapshot) -> None:
    table = snapshot.tables["counters"]
    assert {*table["report"].tolist()} == {"type", "use", "owner"}
    assert {*table["verdict"].tolist()} <= {"verified", "explained"}


def test_the_moment_is_that_of_the_guest(owned: Owned, snapshot: Snapshot) -> None:
    # The clock of a guest is that of this machine.
    seconds = snapshot.header("taken") / 1e6
    assert 0 < owned.core.stat().st_mtime - seconds < 3600
    assert 0 < seconds - snapshot.header("boot_time") / 1e6 < 3600


@pytest.mark.kernels("newest")
def test_size_of_an_idle_guest(owned_idle: Owned, tmp_path: Path) -> None:
    taken(owned_idle.core, tmp_path / "data")
    files = {path.parts[-4]: path.stat().st_size for path in (tmp_path / "data").rglob("*.parquet")}
    assert files["runs"] < MOST_RUNS
    assert sum(files.values()) < MOST


@pytest.mark.kernels("newest")
def test_a_dump_with_more_pages_replaces_one_of_the_same_moment(
    owned: Owned, tmp_path: Path
) -> None:
    filtered, data = owned.refiltered(31), tmp_path / "data"
    has_all = pageinspect("audit", "-c", filtered).returncode == 0
    told = pageinspect("snapshot", filtered, owned.core, "-o", data)
    assert told.returncode == (0 if has_all else 3)
    first, second = told.stdout.splitlines()
    assert first.startswith(f"{filtered}: ")
    assert second.startswith(f"{owned.core}: ")
    if has_all:
        assert second.endswith(f": already in {data}")
        return
    assert second.endswith(f": already in {data}, incomplete; --replace reads it again")
    told = pageinspect("snapshot", owned.core, "-o", data, "--replace")
    assert (told.returncode, told.stderr) == (0, "")
    (entry,) = snapshots(data)
    header = read_snapshot(data, entry.host, entry.time, ())
    assert (header.header("unreadable"), header.header("missing")) == (0, [])
