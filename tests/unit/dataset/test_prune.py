# SPDX-License-Identifier: GPL-2.0-only
"""Keeping the newest snapshots of a host."""

import os
import shutil
from pathlib import Path

import pytest
from crashes import killed_at_each_call
from made_snapshots import KEYS, LATER, NEXT_DAY, SOME, T, check_all, check_rows, filled, snapshot

from pageinspect.dataset.compact import compact
from pageinspect.dataset.failures import record_failure
from pageinspect.dataset.lock import changing
from pageinspect.dataset.prune import keep, replace_snapshot
from pageinspect.dataset.read import snapshots
from pageinspect.dataset.write import write_snapshot
from pageinspect.errors import PageInspectError


@pytest.mark.parametrize("merged", [False, True])
def test_only_the_newest_stay(tmp_path: Path, *, merged: bool) -> None:
    filled(tmp_path, SOME)
    if merged:
        compact(tmp_path)
    assert keep(tmp_path, "h", 3) == 0
    assert keep(tmp_path, "h", 2) == 1
    check_all(tmp_path, [key for key in KEYS if key != ("h", T)], SOME)
    assert keep(tmp_path, "h", 1) == 1
    check_all(tmp_path, [key for key in KEYS if key not in {("h", T), ("h", LATER)}], SOME)
    write_snapshot(tmp_path, snapshot("h", "20270101T000000Z", SOME))
    assert keep(tmp_path, "h", 1) == 1
    keys = sorted([*(key for key in KEYS if key[0] != "h"), ("h", "20270101T000000Z")])
    check_all(tmp_path, keys, SOME)
    assert not [*tmp_path.glob(f"*/day={NEXT_DAY[:8]}")]


@pytest.mark.parametrize("merged", [False, True])
def test_frees_alone_and_memory_are_kept_apart(tmp_path: Path, *, merged: bool) -> None:
    times = [f"20261127T20150{n}Z" for n in range(8)]
    for n, time in enumerate(times):
        write_snapshot(tmp_path, snapshot("h", time, ["frees"] if n % 2 else SOME))
    if merged:
        compact(tmp_path)
    assert keep(tmp_path, "h", 3, of_frees=True) == 1
    assert keep(tmp_path, "h", 2) == 2
    left = [entry.time for entry in snapshots(tmp_path)]
    assert left == [time for n, time in enumerate(times) if n not in {0, 1, 2}]


def test_a_host_is_a_name_and_no_pattern(tmp_path: Path) -> None:
    filled(tmp_path, SOME)
    for host in ("[h]", "*"):
        for time in (T, LATER):
            write_snapshot(tmp_path, snapshot(host, time, SOME))
    assert keep(tmp_path, "*", 1) == 1
    assert keep(tmp_path, "[h]", 1) == 1
    check_all(tmp_path, sorted([*KEYS, ("*", LATER), ("[h]", LATER)]), SOME)


def test_nothing_is_removed_during_a_merge(tmp_path: Path) -> None:
    filled(tmp_path, SOME)
    with changing(tmp_path):
        assert keep(tmp_path, "h", 1) == 0
    compact(tmp_path)
    with changing(tmp_path, shared=True):
        assert keep(tmp_path, "h", 1) == 0
    check_all(tmp_path, KEYS, SOME)


def test_at_least_one_stays(tmp_path: Path) -> None:
    filled(tmp_path, SOME)
    with pytest.raises(ValueError, match="at least 1"):
        keep(tmp_path, "h", 0)


def test_not_a_dataset(tmp_path: Path) -> None:
    with pytest.raises(PageInspectError, match="not a dataset"):
        keep(tmp_path, "h", 1)
    assert not [*tmp_path.iterdir()]


def test_removing_that_is_killed_at_any_call(tmp_path: Path) -> None:
    start = filled(tmp_path / "start", SOME)
    compact(start)
    write_snapshot(start, snapshot("h", "20261128T000001Z", SOME))
    write_snapshot(start, snapshot("h", "20261128T000002Z", SOME))
    all_keys = sorted([*KEYS, ("h", "20261128T000001Z"), ("h", "20261128T000002Z")])
    of_host = [key for key in all_keys if key[0] == "h"]

    def copied() -> Path:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        return shutil.copytree(start, tmp_path / "copy")

    calls = 0
    for dataset in killed_at_each_call(copied, lambda dataset: keep(dataset, "h", 1)):
        calls += 1
        left = [entry[:2] for entry in snapshots(dataset)]
        # Those of other hosts and the newest one always stay.
        assert set(left) >= {*all_keys} - {*of_host[:-1]}
        check_rows(dataset, left, SOME)
        keep(dataset, "h", 1)
        check_rows(dataset, sorted({*all_keys} - {*of_host[:-1]}), SOME)
    assert calls > 20


@pytest.mark.parametrize("merged", [False, True])
def test_rows_of_failures_are_not_counted(tmp_path: Path, *, merged: bool) -> None:
    filled(tmp_path, SOME)
    core = tmp_path / "core"
    core.touch()
    for seconds in (1_000_000_000, 1_900_000_000):
        os.utime(core, (seconds, seconds))
        record_failure(tmp_path, core, "h", "damaged")
    if merged:
        compact(tmp_path)
    assert keep(tmp_path, "h", 2) == 2
    times = [time for host, time, _ in snapshots(tmp_path) if host == "h"]
    assert times == [LATER, NEXT_DAY, "20300317T174640Z"]
    assert keep(tmp_path, "h", 1) == 1


def test_a_snapshot_that_cannot_be_replaced_says_what_was_lost(tmp_path: Path) -> None:
    write_snapshot(tmp_path, snapshot("h", T, ["owners"]))
    with changing(tmp_path), pytest.raises(PageInspectError, match="another process") as caught:
        replace_snapshot(tmp_path, snapshot("h", T, ["owners"]))
    assert "wait" in caught.value.hint
    (tmp_path / "frees").write_text("in the way")
    with pytest.raises(PageInspectError, match="cannot write") as caught:
        replace_snapshot(tmp_path, snapshot("h", T, ["frees"]))
    assert "the earlier snapshot was removed" in caught.value.hint
