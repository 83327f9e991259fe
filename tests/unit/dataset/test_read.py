# SPDX-License-Identifier: GPL-2.0-only
"""Reading datasets that are new, old, damaged or foreign."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_snapshots import LATER, NEXT_DAY, T, changed, plain, same, snapshot

from pageinspect.dataset.files import Entry, committed
from pageinspect.dataset.paths import part_of
from pageinspect.dataset.read import read_snapshot, snapshots
from pageinspect.dataset.write import write_snapshot
from pageinspect.errors import PageInspectError
from pageinspect.model.snapshot import HEADER


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    write_snapshot(tmp_path, snapshot("h", T))
    return tmp_path


def test_snapshots_are_sorted_by_host_and_time(dataset: Path) -> None:
    for host, time in (("h", NEXT_DAY), ("a\n", LATER), ("h", LATER)):
        write_snapshot(dataset, snapshot(host, time, []))
    assert snapshots(dataset) == [
        Entry("a\n", LATER), Entry("h", T), Entry("h", LATER), Entry("h", NEXT_DAY),
    ]  # fmt: skip


def test_committed_files(dataset: Path) -> None:
    write_snapshot(dataset, snapshot("h[1]", NEXT_DAY, ["owners"]))
    both = [part_of(dataset, "owners", *key) for key in (("h", T), ("h[1]", NEXT_DAY))]
    assert committed(dataset, "owners") == both
    assert committed(dataset, "runs") == [part_of(dataset, "runs", "h", T)]
    assert committed(dataset, "owners", since=LATER) == both[1:]
    assert committed(dataset, "owners", since=T, host="h") == both[:1]
    assert committed(dataset, "owners", host="h*") == both
    assert committed(dataset, "unknown") == []


def test_foreign_names_are_ignored(dataset: Path) -> None:
    before = snapshots(dataset), committed(dataset, "runs")
    part = part_of(dataset, HEADER, "h", T)
    for name in (
        "README", "snapshots/x", f"snapshots/host=a b/time={T}/part.parquet",
        f"snapshots/host=h/time={T}/other.parquet", "snapshots/host=h/time=x/part.parquet",
        "snapshots/day=20261127/7.parquet", "snapshots/day=x/000001.parquet",
        f"runs/host=h/time={T}/_SUCCESS", f"snapshots/host=z/time={LATER}/.part.parquet.swp",
    ):  # fmt: skip
        (dataset / name).parent.mkdir(parents=True, exist_ok=True)
        (dataset / name).write_bytes(part.read_bytes())
    (dataset / f"snapshots/host=h/time={LATER}").touch()
    assert (snapshots(dataset), committed(dataset, "runs")) == before


def test_not_a_dataset(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing\x1b"):
        with pytest.raises(PageInspectError, match="is not a dataset") as caught:
            snapshots(path)
        assert "\x1b" not in caught.value.message


def test_a_snapshot_that_is_not_there(dataset: Path) -> None:
    write_snapshot(dataset, snapshot("h", NEXT_DAY, []))
    with pytest.raises(PageInspectError, match="no snapshot of h at") as caught:
        read_snapshot(dataset, "h", LATER)
    assert caught.value.hint == f"it has 2 snapshots of this host, from {T} to {NEXT_DAY}"
    with pytest.raises(PageInspectError, match=r"no snapshot of \\x1b at"):
        read_snapshot(dataset, "\x1b", "2026")


def test_a_column_that_is_newer_than_the_file_is_null(dataset: Path) -> None:
    path = part_of(dataset, "owners", "h", T)
    changed(path, lambda table: table.drop_columns(["caller", "reserved"]))
    owners = plain(read_snapshot(dataset, "h", T).tables["owners"])
    assert owners["caller"] == owners["reserved"] == [None, None, None]
    assert owners["name"] == ["name 0", "name 0", "name 1"]


def test_a_column_that_cannot_be_null(dataset: Path) -> None:
    path = part_of(dataset, "owners", "h", T)
    changed(path, lambda table: table.drop_columns(["pages"]))
    with pytest.raises(PageInspectError, match=f"{path} lacks the column pages"):
        read_snapshot(dataset, "h", T)
    assert read_snapshot(dataset, "h", T, ["runs"])


def test_a_column_with_nulls_that_it_cannot_have(dataset: Path) -> None:
    def nulls(table: pa.Table) -> pa.Table:
        at = table.schema.get_field_index("pages")
        return table.set_column(at, "pages", pa.array([1, None, 2]))

    changed(part_of(dataset, "owners", "h", T), nulls)
    with pytest.raises(PageInspectError, match="a row without a value in the column pages"):
        read_snapshot(dataset, "h", T)


def test_more_columns_are_ignored(dataset: Path) -> None:
    more = pa.array(["x"] * 3)
    changed(part_of(dataset, "runs", "h", T), lambda table: table.append_column("colour", more))
    assert same(dataset, snapshot("h", T))


def test_a_newer_version(dataset: Path) -> None:
    path = part_of(dataset, "runs", "h", T)
    changed(path, lambda table: table, schema="2")
    with pytest.raises(
        PageInspectError, match=rf"{path} was written by a newer.*schema 2"
    ) as error:
        read_snapshot(dataset, "h", T)
    assert "upgrade" in error.value.hint


def test_a_file_of_another_program_or_table(dataset: Path) -> None:
    path = part_of(dataset, "runs", "h", T)
    path.write_bytes(part_of(dataset, "owners", "h", T).read_bytes())
    with pytest.raises(PageInspectError, match="not written by pageinspect as a table runs"):
        read_snapshot(dataset, "h", T)
    pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(PageInspectError, match="not written by pageinspect as a table runs"):
        read_snapshot(dataset, "h", T)


def test_the_file_of_another_snapshot(dataset: Path) -> None:
    path = part_of(dataset, HEADER, "other", T)
    path.parent.mkdir(parents=True)
    path.write_bytes(part_of(dataset, HEADER, "h", T).read_bytes())
    with pytest.raises(PageInspectError, match=f"{path} has 0 rows of other"):
        read_snapshot(dataset, "other", T)


def test_a_missing_table(dataset: Path) -> None:
    path = part_of(dataset, "runs", "h", T)
    path.unlink()
    with pytest.raises(PageInspectError, match=f"{path} is missing"):
        read_snapshot(dataset, "h", T)


def test_keys_of_another_type(dataset: Path) -> None:
    path = part_of(dataset, "runs", "h", T)

    def text(table: pa.Table) -> pa.Table:
        return table.set_column(1, "time", pa.array(["2026"] * 3))

    changed(path, text)
    with pytest.raises(PageInspectError, match=f"{path} lacks the column time"):
        read_snapshot(dataset, "h", T)


@pytest.mark.parametrize("table", [HEADER, "owners"])
def test_damaged_bytes_are_an_error_with_the_path(dataset: Path, table: str) -> None:
    path = part_of(dataset, table, "h", T)
    whole = path.read_bytes()
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    refused: list[PageInspectError] = []
    for at in range(0, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x5A]) + whole[at + 1 :])
        try:
            # Pages have checksums; the footer has none.
            assert same(dataset, snapshot("h", T), ["owners"]) or at > footer
        except PageInspectError as error:
            refused.append(error)
    # No reader needs some bytes, such as those of statistics.
    assert len(refused) > len(whole) // 7 // 2
    assert all(str(path) in error.message and error.hint for error in refused)


@pytest.mark.parametrize("size", [0, 3, 100, -1])
def test_a_file_that_is_cut_off(dataset: Path, size: int) -> None:
    path = part_of(dataset, "owners", "h", T)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(PageInspectError, match=f"cannot read {path}"):
        read_snapshot(dataset, "h", T)


def test_more_rows_than_a_snapshot_can_have(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pageinspect.dataset.parquet._MOST_ROWS", 2)
    with pytest.raises(PageInspectError, match=r"3 rows in .* more than a snapshot can have"):
        read_snapshot(dataset, "h", T)


def test_a_folder_that_disappears_while_it_is_read(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any, **__: Any) -> None:
        raise FileNotFoundError(2, "No such file", "somewhere\x1b")

    monkeypatch.setattr("pageinspect.dataset.files.single", gone)
    with pytest.raises(PageInspectError, match=r"somewhere\\x1b disappeared"):
        snapshots(dataset)
