# SPDX-License-Identifier: GPL-2.0-only
"""Writing: what counts, and what fails."""

import errno
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from made_snapshots import LATER, T, same, snapshot

from pageinspect.dataset import lock, schema
from pageinspect.dataset.files import committed
from pageinspect.dataset.paths import part_of
from pageinspect.dataset.read import snapshots
from pageinspect.dataset.write import write_snapshot
from pageinspect.errors import PageInspectError
from pageinspect.host import files
from pageinspect.model.snapshot import HEADER, TABLES


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_the_layout(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "new/dataset", snapshot("a/b", T, ["owners"]))
    assert set(contents(tmp_path)) == {
        "new/dataset/.pageinspect",
        f"new/dataset/owners/host=a%2Fb/time={T}/part.parquet",
        f"new/dataset/snapshots/host=a%2Fb/time={T}/part.parquet",
    }


def test_files_have_the_mode_of_other_reports(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_snapshot(tmp_path, snapshot("h", T, ["owners"]))
    finally:
        os.umask(before)
    assert {p.stat().st_mode & 0o777 for p in tmp_path.rglob("*.parquet")} == {0o640}
    assert {p.stat().st_mode & 0o777 for p in tmp_path.rglob("*=*")} - {0o640} == {0o750}


def test_the_row_of_snapshots_is_written_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []
    replacing = files.replacing

    def seen(folder: int, name: str, **options: Any) -> Any:
        order.append(Path(f"/proc/self/fd/{folder}").readlink().parts[-3])
        return replacing(folder, name, **options)

    monkeypatch.setattr(files, "replacing", seen)
    write_snapshot(tmp_path, snapshot("h", T))
    assert order[-1] == HEADER
    assert sorted(order) == sorted(TABLES)


def test_a_second_snapshot_of_a_host_and_second_is_refused(tmp_path: Path) -> None:
    first = snapshot("evil\x1b[31m", T)
    write_snapshot(tmp_path, first)
    before = contents(tmp_path)
    with pytest.raises(PageInspectError, match=r"has a snapshot of evil\\x1b\[31m at 2") as caught:
        write_snapshot(tmp_path, snapshot("evil\x1b[31m", T, rows=2))
    assert "--host" in caught.value.hint
    assert contents(tmp_path) == before
    write_snapshot(tmp_path, snapshot("other", T))
    write_snapshot(tmp_path, snapshot("evil\x1b[31m", LATER))
    assert same(tmp_path, first)


def test_the_second_writer_loses_without_the_lock_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = snapshot("h", T)
    write_snapshot(tmp_path, first)
    monkeypatch.setattr("pageinspect.dataset.write.find", lambda *_: None)
    monkeypatch.setattr("pageinspect.dataset.write.remove", lambda *_: None)
    with pytest.raises(PageInspectError, match="already"):
        write_snapshot(tmp_path, snapshot("h", T, []))
    assert same(tmp_path, first)


def test_writers_of_one_host_exclude_each_other(tmp_path: Path) -> None:
    with lock.writing(tmp_path, "h"):
        for host, free in (("h", False), ("other", True)):
            with lock.try_writing(tmp_path, host) as got:
                assert got is free
    with lock.try_writing(tmp_path, "h") as got:
        assert got


def test_what_a_killed_writer_left_is_not_part_of_the_next_snapshot(tmp_path: Path) -> None:
    write_snapshot(tmp_path, snapshot("h", T, ["owners", "frees"]))
    part_of(tmp_path, HEADER, "h", T).unlink()
    assert snapshots(tmp_path) == []
    assert committed(tmp_path, "frees") == []
    wanted = snapshot("h", T, ["owners"], rows=2)
    write_snapshot(tmp_path, wanted)
    assert same(tmp_path, wanted)
    assert committed(tmp_path, "frees") == []


@pytest.mark.parametrize("call", [*range(1, 12, 2)])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: int) -> None:
    write_snapshot(tmp_path, snapshot("h", T, ["owners"]))
    before = contents(tmp_path)
    calls = 0
    fsync = os.fsync

    def full(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            PageInspectError, match=rf"cannot write {tmp_path}/\w+/host=h/time={LATER}/part.*space"
        ):
            write_snapshot(tmp_path, snapshot("h", LATER))
    assert contents(tmp_path) == before
    write_snapshot(tmp_path, snapshot("h", LATER))


def test_a_folder_of_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").touch()
    with pytest.raises(PageInspectError, match="is not a dataset, and not empty") as caught:
        write_snapshot(tmp_path, snapshot("h", T))
    assert "empty folder" in caught.value.hint
    assert set(contents(tmp_path)) == {"holiday.jpg"}


def test_a_dataset_that_came_without_its_hidden_file_is_written_to(tmp_path: Path) -> None:
    write_snapshot(tmp_path, snapshot("h", T))
    (tmp_path / ".pageinspect").unlink()
    write_snapshot(tmp_path, snapshot("h", LATER))
    assert len(snapshots(tmp_path)) == 2


def test_a_file_in_the_place_of_the_dataset(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PageInspectError, match=f"cannot write {tmp_path}/file: Not a directory"):
        write_snapshot(tmp_path / "file", snapshot("h", T))


def test_without_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schema.arrow.cache_clear()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PageInspectError, match="pyarrow") as caught:
        write_snapshot(tmp_path / "new", snapshot("h", T))
    assert caught.value.hint == f"{sys.executable} -m pip install 'pageinspect[snapshot]'"
    assert not (tmp_path / "new").exists()


def test_importing_it_does_not_import_pyarrow() -> None:
    sources = Path(sys.modules[schema.__name__].__file__ or "").parent.glob("*.py")
    assert not [path for path in sources if "import pyarrow" in path.read_text(encoding="utf-8")]
