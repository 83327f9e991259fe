# SPDX-License-Identifier: GPL-2.0-only
"""Rows of cores that could not be read: one each, replaced, removed, and beside other snapshots."""

import os
from pathlib import Path

import pytest

from pageinspect.dataset.compact import compact
from pageinspect.dataset.failures import record_failure, remove_failure
from pageinspect.dataset.files import committed
from pageinspect.dataset.read import read_snapshot, snapshots
from pageinspect.errors import PageInspectError
from pageinspect.model.snapshot import HEADER

START = 1_764_439_274
TIME = "20251129T180114Z"
NEXT = "20251129T180115Z"


def core_in(folder: Path, name: str = "vmcore") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("no core")
    os.utime(path, (START, START))
    return path


def errors(dataset: Path) -> dict[tuple[str, str], str]:
    found = {}
    for entry in snapshots(dataset):
        found[entry.host, entry.time] = read_snapshot(dataset, entry.host, entry.time).header(
            "error"
        )
    return found


@pytest.mark.parametrize("merged", [False, True])
def test_a_row_is_replaced_and_removed(tmp_path: Path, *, merged: bool) -> None:
    data, core = tmp_path / "data", core_in(tmp_path / "a")
    for text in ("first", "second"):
        record_failure(data, core, None, text)
        assert errors(data) == {("vmcore", TIME): f"{core}: {text}"}
        if merged:
            compact(data)
    remove_failure(data, core, None)
    assert errors(data) == {}
    remove_failure(data, core, None)


def test_a_row_has_no_tables(tmp_path: Path) -> None:
    data, core = tmp_path / "data", core_in(tmp_path)
    record_failure(data, core, "h", f"{core} is cut off")
    snapshot = read_snapshot(data, "h", TIME)
    assert set(snapshot.tables) == {HEADER}
    assert snapshot.header("error") == f"{core} is cut off"
    assert (snapshot.header("source"), snapshot.header("boot_id")) == ("core", None)
    assert committed(data, "runs") == []


def test_cores_of_one_name_and_moment_have_a_row_each(tmp_path: Path) -> None:
    data, one, two = tmp_path / "data", core_in(tmp_path / "a"), core_in(tmp_path / "b")
    record_failure(data, one, None, "cut off")
    record_failure(data, two, None, "cut off")
    assert errors(data) == {
        ("vmcore", TIME): f"{one}: cut off",
        ("vmcore", NEXT): f"{two}: cut off",
    }
    remove_failure(data, two, None)
    assert errors(data) == {("vmcore", TIME): f"{one}: cut off"}


def test_what_is_no_file_has_no_row(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for path in (tmp_path, tmp_path / "missing", Path("/dev/null")):
        record_failure(data, path, None, "cannot be read")
        remove_failure(data, path, None)
    assert not data.exists()


def test_a_row_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    core = core_in(tmp_path)
    with pytest.raises(PageInspectError, match="is not a dataset"):
        record_failure(tmp_path, core, None, "cut off")
