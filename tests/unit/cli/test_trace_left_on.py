# SPDX-License-Identifier: GPL-2.0-only
"""A trace that is left on: every free is in the dataset once, whatever fails in between."""

import errno
import os
from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from fake_program import FakeProgram
from synthetic import MODERN
from trace_reports import KERNEL, TABLE, ZSMALLOC, counts, report

from pageinspect.cli import frees_dataset
from pageinspect.cli.frees_dataset import FreesDataset
from pageinspect.cli.trace_left_on import Readings
from pageinspect.dataset import write as write_module
from pageinspect.dataset.compact import compact
from pageinspect.dataset.read import read_snapshot, snapshots
from pageinspect.errors import PageInspectError
from pageinspect.fleet.engine import opened
from pageinspect.fleet.questions import ask
from pageinspect.inspector import snapshot_header
from pageinspect.kernel.boot import Clock
from pageinspect.report.selection import Request
from pageinspect.report.trace import TraceReport
from pageinspect.saved.opening import open_saved, snapshot_in
from pageinspect.trace.options import TraceOptions
from pageinspect.trace.session import Session

TARGET = SimpleNamespace(provenance=KERNEL, prog=None, vmcoreinfo={})


@pytest.fixture(autouse=True)
def _boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_header, "read_boot_id", lambda _: "a boot")
    monkeypatch.setattr(snapshot_header, "read_clock", lambda _: Clock())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Time in whole seconds that a test sets."""
    now = SimpleNamespace(at=1_796_000_000)
    monkeypatch.setattr(
        snapshot_header, "time", SimpleNamespace(time_ns=lambda: now.at * 1_000_000_000)
    )
    monkeypatch.setattr(frees_dataset, "time", SimpleNamespace(time=lambda: now.at))
    return now


def opened_dataset(path: Path, **given: Any) -> FreesDataset:
    args = Namespace(**({"output": path, "host": "h/1", "keep": None} | given))
    return FreesDataset(args, cast("Any", TARGET), MODERN)


def frees(path: Path) -> list[tuple[str, int, float]]:
    """Return type, frees and seconds of all rows."""
    tables = [read_snapshot(path, e.host, e.time).tables["frees"] for e in snapshots(path)]
    return [
        row
        for table in tables
        for row in zip(
            *(table[name].tolist() for name in ("type", "frees", "seconds")), strict=True
        )
    ]


def test_each_interval_is_a_snapshot_that_fleet_reads(tmp_path: Path, clock: Any) -> None:
    dataset = opened_dataset(tmp_path)
    dataset.write(report(counts({(ZSMALLOC, 0): 5}, {0: 3}), interval=True))
    clock.at += 60
    dataset.write(report(counts({(TABLE, 0): 1}, {}, missed=2), interval=True))
    first, second = snapshots(tmp_path)
    assert (first.host, first.time) == ("h/1", "20261130T005320Z")
    assert frees(tmp_path) == [("zsmalloc", 5, 1.5), ("table", 1, 1.5)]
    header = read_snapshot(tmp_path, second.host, second.time)
    assert header.header("boot_id") == "a boot"
    assert header.header("tables") == ["frees"]
    assert header.header("missing") == [
        "Lost: 2 frees while the tracer's own program ran on the same CPU."
    ]
    assert read_snapshot(tmp_path, first.host, first.time).header("missing") == []
    compact(tmp_path)
    with opened(tmp_path) as fleet:
        (table,) = ask(fleet, "frees", 0).tables()
        rows = {row["type"]: row["frees"] for row in table.records()}
        assert rows == {"zsmalloc": 5, "table": 1}
    with opened(tmp_path) as fleet:
        assert not [*ask(fleet, "uses", 0).tables()[0].rows]


def test_a_loss_is_said_once(
    tmp_path: Path, clock: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = opened_dataset(tmp_path)
    for missed in (0, 2, 5):
        clock.at += 60
        dataset.write(report(counts({(TABLE, 0): 1}, {}, missed=missed)))
    (said,) = capsys.readouterr().err.splitlines()
    assert "Lost: 2 frees while the tracer's" in said
    assert "column missing" in said


def test_it_is_no_snapshot_of_memory(tmp_path: Path) -> None:
    opened_dataset(tmp_path).write(report(counts({}, {0: 3})))
    with pytest.raises(PageInspectError, match="has no memory: it has typed frees alone"):
        snapshot_in(tmp_path)
    (entry,) = snapshots(tmp_path)
    with opened(tmp_path) as fleet:
        (row,) = ask(fleet, "snapshots", 0).tables()[0].records()
    assert (row["host"], row["pages"], row["error"]) == ("h/1", None, None)
    with pytest.raises(PageInspectError, match="has no table runs"):
        open_saved(tmp_path, entry.time).summary(["use"], Request())


def test_two_intervals_of_one_second_and_a_clock_that_goes_back(tmp_path: Path, clock: Any) -> None:
    dataset = opened_dataset(tmp_path, keep=1)
    dataset.write(report(counts({(TABLE, 0): 1}, {})))
    dataset.write(report(counts({(TABLE, 0): 2}, {})))
    assert [n for _, n, _ in frees(tmp_path)] == [2]
    clock.at -= 10
    dataset.write(report(counts({(TABLE, 0): 3}, {})))
    # Nothing is removed: the newest one would look like the oldest.
    assert [n for _, n, _ in frees(tmp_path)] == [3, 2]


def test_a_folder_of_other_things_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    with pytest.raises(PageInspectError, match="is not a dataset"):
        opened_dataset(tmp_path)


def test_a_full_disk_loses_no_free(
    tmp_path: Path,
    clock: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The fake program counts one free of each order at each reading."""
    dataset, write = opened_dataset(tmp_path), write_module._write
    full = True

    def on_full_disk(*args: Any, **kwargs: Any) -> None:
        if full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(args[1]))
        write(*args, **kwargs)

    monkeypatch.setattr(write_module, "_write", on_full_disk)
    session = Session(cast("Any", FakeProgram()), 10.0, 0.01)
    written = Readings(dataset.write, session.carry_over, since_start=False, left_on=True)
    asked = report(counts({}, {}), options=TraceOptions(), types=("untyped",)).subject
    readings = session.readings()
    seen = 0
    for n, reading in enumerate(readings):
        full = n in {1, 2}
        clock.at += 1
        seen = int(reading.counts.untyped[0])
        written.take(TraceReport.of(asked, reading))
        if n == 4:
            readings.close()
            break
    assert seen == 1
    assert written.finish() == 5
    first, *said = capsys.readouterr().err.splitlines()
    assert "Lost: 1 unreadable" in first
    assert len(said) == 2
    assert all("No space left on device; the next interval includes" in line for line in said)
    assert len(snapshots(tmp_path)) == 3


def test_the_last_interval_that_cannot_be_written_is_an_error() -> None:
    def refuse(_: object) -> None:
        raise PageInspectError("full", "")

    written = Readings(refuse, lambda: None, since_start=False, left_on=True)
    written.take(report(counts({}, {})))
    with pytest.raises(PageInspectError, match="full"):
        written.finish()
    with pytest.raises(PageInspectError, match="full"):
        Readings(refuse, lambda: None, since_start=True, left_on=False).take(report(counts({}, {})))


def test_what_is_lost_since_the_start_is_added_up_once() -> None:
    carried: list[None] = []
    growing = Readings(lambda _: None, lambda: carried.append(None), since_start=True, left_on=True)
    each = Readings(lambda _: None, carried.clear, since_start=False, left_on=True)
    for n in (1, 3):
        lost = report(counts({}, {}, missed=n))
        growing.take(lost)
        each.take(lost)
    assert (growing.finish(), each.finish(), len(carried)) == (3, 4, 2)
