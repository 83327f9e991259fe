# SPDX-License-Identifier: GPL-2.0-only
"""Merging days: each snapshot counts once, whatever happens."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from crashes import killed_at_each_call
from made_snapshots import (
    KEYS,
    LATER,
    NEXT_DAY,
    SOME,
    T,
    changed,
    check_all,
    check_rows,
    filled,
    snapshot,
)

from pageinspect.dataset import merge
from pageinspect.dataset.compact import Compacted, compact
from pageinspect.dataset.files import Entry, committed
from pageinspect.dataset.lock import changing
from pageinspect.dataset.paths import day_file, part_of
from pageinspect.dataset.read import snapshots
from pageinspect.dataset.write import write_snapshot
from pageinspect.errors import PageInspectError
from pageinspect.model.snapshot import HEADER, TABLES


def test_a_day_becomes_a_file_a_table(tmp_path: Path) -> None:
    tables = [name for name in TABLES if name != HEADER]
    filled(tmp_path, tables)
    assert compact(tmp_path) == Compacted(2, 5)
    check_all(tmp_path, KEYS, tables)
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")} == {
        ".pageinspect",
        *(f"{table}/day={day}/000001.parquet" for table in TABLES for day in (T[:8], NEXT_DAY[:8])),
    }
    assert not [*tmp_path.glob("*/host=*")]
    assert compact(tmp_path) == Compacted(0, 0)


def test_a_snapshot_that_arrives_late_is_merged_the_next_time(tmp_path: Path) -> None:
    compact(filled(tmp_path, SOME))
    write_snapshot(tmp_path, snapshot("b", T, SOME))
    keys = sorted([*KEYS, ("b", T)])
    check_all(tmp_path, keys, SOME)
    assert [e.generation for e in snapshots(tmp_path) if e.time[:8] == T[:8]] == [1, 0, 1, 1, 1]
    assert compact(tmp_path) == Compacted(1, 1)
    check_all(tmp_path, keys, SOME)
    assert {path.name for path in tmp_path.glob(f"*/day={T[:8]}/*")} == {"000002.parquet"}


def test_a_merged_snapshot_is_not_written_again(tmp_path: Path) -> None:
    compact(filled(tmp_path, SOME))
    with pytest.raises(PageInspectError, match="already"):
        write_snapshot(tmp_path, snapshot("h", T, SOME))


def test_committed_files_of_days(tmp_path: Path) -> None:
    compact(filled(tmp_path, SOME))
    write_snapshot(tmp_path, snapshot("b", NEXT_DAY, SOME))
    days = [day_file(tmp_path, "owners", day, 1) for day in (T[:8], NEXT_DAY[:8])]
    late = part_of(tmp_path, "owners", "b", NEXT_DAY)
    assert committed(tmp_path, "owners") == [late, *days]
    assert committed(tmp_path, "owners", since=NEXT_DAY) == [late, days[1]]
    assert committed(tmp_path, "owners", since=T, host="x") == days


def test_row_groups_are_sorted_and_have_an_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merge, "GROUP_ROWS", 6)
    compact(filled(tmp_path, SOME))
    metadata = pq.read_metadata(day_file(tmp_path, "owners", T[:8], 1))
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [6, 6]
    assert json.loads(metadata.metadata[b"pageinspect.groups"]) == [
        [["a/b", LATER], ["h", T]],
        [["h", LATER], ["é", T]],
    ]
    statistics = [metadata.row_group(i).column(0).statistics for i in range(2)]
    assert [(s.min, s.max) for s in statistics] == [("a/b", "h"), ("h", "é")]
    check_all(tmp_path, KEYS, SOME)
    write_snapshot(tmp_path, snapshot("b", T, SOME))
    compact(tmp_path)
    check_all(tmp_path, sorted([*KEYS, ("b", T)]), SOME)


def test_only_one_process_merges(tmp_path: Path) -> None:
    filled(tmp_path, SOME)
    with changing(tmp_path), pytest.raises(PageInspectError, match="another process merges"):
        compact(tmp_path)
    assert compact(tmp_path) == Compacted(2, 5)


def test_what_only_a_later_version_knows_is_kept(tmp_path: Path) -> None:
    filled(tmp_path, SOME)
    path = part_of(tmp_path, "owners", "h", LATER)
    changed(path, lambda t: t.append_column("colour", pa.array(["red", None, "blue"])))
    new = part_of(tmp_path, "planets", "h", LATER)
    new.parent.mkdir(parents=True)
    shutil.copy(path, new)
    changed(new, lambda t: t.select(["host", "time", "colour"]), table="planets")
    for _ in range(2):
        compact(tmp_path)
        check_all(tmp_path, sorted({*KEYS, *((e.host, e.time) for e in snapshots(tmp_path))}), SOME)
        owners = pq.read_table(day_file(tmp_path, "owners", T[:8], 1 + _), partitioning=None)
        assert owners["colour"].to_pylist()[6:9] == ["red", None, "blue"]
        (planets,) = committed(tmp_path, "planets")
        read = pq.read_table(planets, partitioning=None)
        assert read["colour"].to_pylist() == ["red", None, "blue"]
        write_snapshot(tmp_path, snapshot("z", T if not _ else LATER, SOME))


def test_a_damaged_file_leaves_its_day_alone(tmp_path: Path) -> None:
    filled(tmp_path, SOME)
    path = part_of(tmp_path, "owners", "h", LATER)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(PageInspectError, match=f"cannot read {path}") as caught:
        compact(tmp_path)
    assert "other days were merged" in caught.value.hint
    assert {each.parent.name for each in tmp_path.glob("*/day=*/*")} == {f"day={NEXT_DAY[:8]}"}
    path.write_bytes(whole)
    check_all(tmp_path, KEYS, SOME)
    assert compact(tmp_path).snapshots == len([key for key in KEYS if key[1] != NEXT_DAY])
    check_all(tmp_path, KEYS, SOME)


def test_rows_of_another_snapshot(tmp_path: Path) -> None:
    filled(tmp_path, SOME)
    path = part_of(tmp_path, "owners", "h", LATER)
    shutil.copy(part_of(tmp_path, "owners", "h", T), path)
    with pytest.raises(PageInspectError, match=f"{path} has rows of another snapshot: of h at {T}"):
        compact(tmp_path)


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    filled(tmp_path, SOME)
    foreign = [tmp_path / name for name in (
        "notes.txt", "owners/day=x/000001.parquet", "owners/host=h/notes", f"owners/day={T[:8]}/x",
    )]  # fmt: skip
    for path in foreign:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    compact(tmp_path)
    check_all(tmp_path, KEYS, SOME)
    assert all(path.exists() for path in foreign)


def test_what_a_killed_writer_left_is_removed(tmp_path: Path) -> None:
    filled(tmp_path, SOME)
    part_of(tmp_path, HEADER, "h", LATER).unlink()
    compact(tmp_path)
    check_all(tmp_path, [key for key in KEYS if key != ("h", LATER)], SOME)
    assert not [*tmp_path.glob("*/host=*")]


def test_a_merge_that_is_killed_at_any_call(tmp_path: Path) -> None:
    """First of snapshots alone, then with the files of a day."""
    one, two = filled(tmp_path / "one", ["owners"]), tmp_path / "two"
    shutil.copytree(one, two)
    compact(two)
    write_snapshot(two, snapshot("b", T, ["owners"]))
    for start, keys, least in ((one, KEYS, 30), (two, sorted([*KEYS, ("b", T)]), 20)):

        def copied(start: Path = start) -> Path:
            shutil.rmtree(tmp_path / "copy", ignore_errors=True)
            return shutil.copytree(start, tmp_path / "copy")

        calls = 0
        for dataset in killed_at_each_call(copied, compact):
            calls += 1
            check_rows(dataset, keys, ["owners"])
            compact(dataset)
            check_rows(dataset, keys, ["owners"])
            assert not [*dataset.glob("*/host=*/*/*")]
            assert len([*dataset.glob("*/day=*/*")]) == 2 * 2
        assert calls > least


def test_a_writer_that_is_killed_at_any_call(tmp_path: Path) -> None:
    filled(tmp_path, SOME)
    wanted = snapshot("new", T, SOME)
    entry = Entry("new", T)
    calls = 0
    for dataset in killed_at_each_call(
        lambda: tmp_path, lambda dataset: write_snapshot(dataset, wanted)
    ):
        calls += 1
        there = entry in snapshots(dataset)
        check_rows(dataset, sorted([*KEYS, *([entry[:2]] if there else [])]), SOME)
        if there:
            break
    assert calls > 10
