# SPDX-License-Identifier: GPL-2.0-only
"""Which snapshot of a dataset a host and a time mean, and what is read of it."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from saved_tables import KERNEL, TIME, owner, run, snapshot

from pageinspect.dataset.compact import compact
from pageinspect.dataset.write import write_snapshot
from pageinspect.errors import PageInspectError
from pageinspect.model.page_types import byte_scheme
from pageinspect.model.snapshot import HEADER
from pageinspect.report.listing import RunsListing
from pageinspect.report.selection import Request
from pageinspect.saved.opening import TablesOnDemand, choose, open_saved

DATASET = Path("ds")


class Moment(NamedTuple):
    host: str
    time: str


ONE = [Moment("a", f"202611{day}T{hour:02}1500Z") for day, hour in ((26, 8), (27, 8), (27, 20))]
TWO = [*ONE, Moment("b\x1b", "20261128T000000Z")]


@pytest.mark.parametrize(
    ("time", "host", "expected"),
    [
        (None, None, 2),
        ("-1", None, 2),
        ("-2", "a", 1),
        ("-3", None, 0),
        ("20261126", None, 0),
        ("20261127T08", "a", 1),
        ("20261127T201500Z", None, 2),
        ("2026-11-26", None, 0),
        ("2026-11-27T20", None, 2),
        ("2026-11-27T20:15", "a", 2),
        ("2026-11-27 08:15:00", "a", 1),
        ("2026-11-27T08:15:00Z", "a", 1),
        ("2026-11-27T08:15Z", "a", 1),
        ("2026-11-27T09:15:00+01:00", "a", 1),
    ],
)
def test_times(time: str | None, host: str | None, expected: int) -> None:
    assert choose(DATASET, ONE, time, host) == ONE[expected]


def test_a_host_without_memory_is_not_meant() -> None:
    def error_of(each: Moment) -> str | None:
        return "damaged" if each.host == "a" else None

    assert choose(DATASET, TWO, None, None, error_of) == TWO[-1]
    with pytest.raises(PageInspectError, match="has snapshots of 2 hosts"):
        choose(DATASET, TWO, None, None)


def test_hosts() -> None:
    assert choose(DATASET, TWO, None, "a") == ONE[2]
    assert choose(DATASET, TWO, "-1", "b\x1b") == TWO[3]
    assert choose(DATASET, TWO, "-1", r"b\x1b") == TWO[3]
    both = [*TWO, Moment(r"b\x1b", "20261128T000000Z")]
    assert choose(DATASET, both, "-1", r"b\x1b") == both[4]
    assert choose(DATASET, both, "-1", "b\x1b") == both[3]


MANY = [Moment(f"h{i:02}", ONE[0].time) for i in range(20)]


@pytest.mark.parametrize(
    ("found", "time", "host", "message", "hint"),
    [
        ([], None, None, "ds has no snapshots", "pageinspect snapshot -o"),
        (TWO, "-1", None, "ds has snapshots of 2 hosts", r"choose one: ds#a, ds#b\x1b"),
        (TWO, None, "c", "no snapshot of the host c", r"it has: a, b\x1b"),
        (ONE, None, "a@-1", "no snapshot of the host a@-1", "before the host: ds@-1#a"),
        (MANY, None, "h1", "no snapshot of the host h1", "did you mean h1"),
        (MANY, None, None, "ds has snapshots of 20 hosts", "ds#h07 and 12 more"),
        (ONE, "-4", None, "ds has 3 snapshots of a, and not 4", f"the oldest is @{ONE[0].time}"),
        (ONE, "20261127", None, "2 snapshots of a at 20261127", f"@{ONE[1].time}, @{ONE[2].time}"),
        (ONE, "2025", None, "no snapshot of a at 2025", f"the nearest: @{ONE[0].time}"),
        (ONE, "2027", None, "no snapshot of a at 2027", f"the nearest: @{ONE[2].time}"),
        (ONE, "20261127T1", None, "no snapshot", f"@{ONE[1].time}, @{ONE[2].time}"),
        (ONE, "2026-11-28", None, "no snapshot of a at 2026-11-28", f"nearest: @{ONE[2].time}"),
        (ONE, "-0", None, "-0 is not a time such as 20261127T201500Z, or -1 for", "2026-11-27T20"),
        (ONE, "yesterday", None, "yesterday is not a time such as", "2026-11-27T20:15"),
        (ONE, "\x1b", None, r"\x1b is not a time", "2026-11-27T20:15"),
    ],
)
def test_what_is_not_one_snapshot(
    found: list[Moment], time: str | None, host: str | None, message: str, hint: str
) -> None:
    with pytest.raises(PageInspectError) as error:
        choose(DATASET, found, time, host)
    assert message in error.value.message
    assert hint in error.value.hint


def test_a_dataset_is_opened_and_tables_are_read_when_they_are_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = snapshot([run(0, 4, owner=1), run(8, 2, owner=1)], [owner(1, "boot")], host="a/b")
    write_snapshot(tmp_path, saved)
    reports = open_saved(tmp_path)
    assert reports.provenance.snapshot is not None
    assert (reports.provenance.snapshot.host, reports.provenance.snapshot.time) == ("a/b", TIME)
    (row,) = reports.owners("kind", Request()).rows
    assert (row.kind, row.pages) == ("boot", 6)
    assert reports.provenance.option == f"-c {tmp_path}"
    named = open_saved(tmp_path, "-1", "a/b").provenance
    assert named.option == f"-c '{tmp_path}@-1#a/b'"

    tables = TablesOnDemand(tmp_path, "a/b", TIME)
    assert [*tables] == [HEADER, "runs", "owners"]
    assert len(tables) == 3
    assert tables.get("processes") is None
    assert tables["runs"]["pages"].tolist() == [4, 2]
    monkeypatch.setattr("pageinspect.dataset.read.read_snapshot", None)
    assert tables["runs"]["pages"].tolist() == [4, 2]
    assert tables[HEADER]["release"].tolist() == ["7.0"]


@pytest.mark.parametrize(("time", "expected"), [(None, 1), ("-1", 1), ("-2", 0)])
def test_rows_without_memory_are_not_among_the_newest(time: str | None, expected: int) -> None:
    errors = {ONE[2]: "cut off"}
    assert choose(DATASET, ONE[:3], time, None, errors.get) == ONE[expected]


def test_a_time_means_the_row_that_has_it_also_without_memory() -> None:
    errors = dict.fromkeys(ONE, "/a is not a core\x1b")
    assert choose(DATASET, ONE, ONE[0].time, None, errors.get) == ONE[0]
    with pytest.raises(PageInspectError) as caught:
        choose(DATASET, ONE, None, None, errors.get)
    text = r"/a is not a core\x1b"
    assert caught.value.message == f"no snapshot of a has memory; the newest: {text}"
    assert "pageinspect snapshot -o ds" in caught.value.hint
    assert "snapshot CORE -o ds" in caught.value.hint
    with pytest.raises(PageInspectError) as caught:
        choose(DATASET, ONE[:1], None, None, errors.get)
    assert caught.value.message == f"the only snapshot of a has no memory: {text}"


def test_reports_of_a_kernel_whose_snapshot_was_merged_with_those_of_others(tmp_path: Path) -> None:
    later = byte_scheme({"buddy": 0xF0, "slab": 0xF5, "large_kmalloc": 0xF9}, off_by_one=True)
    newer = replace(KERNEL, scheme=later, zone_names=("DMA", "DMA32", "Normal", "Movable"))
    saved = (
        snapshot(
            [
                run(0, 8, use="large_kmalloc", type="large_kmalloc", owner=1, zone="Movable"),
                run(8, 4, use="slab", type="slab", owner=1),
            ],
            [owner(1, "slab", "kmalloc")],
            kernel=newer,
            host="a",
        ),
        snapshot(
            [
                run(0, 4, use="table", type="table", owner=2),
                run(4, 4, use="slab", type="slab", owner=1, migratetype=None),
                run(16, 2, owner=3, zone="Normal"),
            ],
            [owner(1, "slab", "dentry"), owner(2, "table"), owner(3, "boot")],
            host="b",
        ),
    )
    for each in saved:
        write_snapshot(tmp_path, each)

    def reports(host: str) -> list[object]:
        of_host = open_saved(tmp_path, None, host)
        return [
            *(of_host.summary([by], Request()) for by in ("type", "use", "zone", "owner")),
            of_host.list(RunsListing, Request()).to_json(),
            of_host.owners("name", Request()),
            of_host.contiguity(9),
        ]

    before = [reports(host) for host in "ab"]
    compact(tmp_path)
    assert [reports(host) for host in "ab"] == before
