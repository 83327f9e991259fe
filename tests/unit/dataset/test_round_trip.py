# SPDX-License-Identifier: GPL-2.0-only
"""A snapshot that is read is the one that was written."""

import tempfile
from pathlib import Path
from typing import Any

import made_snapshots
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pageinspect.dataset.read import read_snapshot
from pageinspect.dataset.write import write_snapshot
from pageinspect.model.snapshot import HEADER, TABLES, Field, Names, Snapshot, SnapshotTable

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
TIMES = st.datetimes().map(lambda moment: f"20{moment:%y%m%dT%H%M%S}Z")
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "uint8": st.integers(0, 255),
    "int32": st.integers(-(1 << 31), (1 << 31) - 1),
    "int64": st.integers(-(1 << 63), (1 << 63) - 1),
    "float64": st.floats(allow_nan=False),
    "text": TEXT,
    "name": TEXT,
    "names": st.lists(TEXT, max_size=3),
    "pages by name": st.dictionaries(TEXT, st.integers(0, 1 << 40), max_size=3),
    "time": st.integers(0, 253402300799_000000),
}


def values_of(field: Field) -> st.SearchStrategy[Any]:
    values = VALUES[field.kind]
    return st.none() | values if field.absent else values


@st.composite
def made(draw: st.DrawFn) -> Snapshot:
    tables = draw(st.sets(st.sampled_from([*TABLES])))
    found = {}
    for name in {HEADER, *tables}:
        size = (1, 1) if name == HEADER else (0, 4)
        row = st.tuples(
            *(
                st.just([*tables]) if (name, f.name) == (HEADER, "tables") else values_of(f)
                for f in TABLES[name]
            )
        )
        rows = draw(st.lists(row, min_size=size[0], max_size=size[1]))
        found[name] = SnapshotTable.of_rows(name, rows)
    return Snapshot(draw(TEXT), draw(TIMES), found)


@given(made())
def test_what_is_read_is_what_was_written(wanted: Snapshot) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_snapshot(Path(folder), wanted)
        assert made_snapshots.same(Path(folder), wanted)


def test_columns_have_the_types_of_a_snapshot(tmp_path: Path) -> None:
    write_snapshot(tmp_path, made_snapshots.snapshot("h", made_snapshots.T))
    read = read_snapshot(tmp_path, "h", made_snapshots.T)
    runs = read.tables["runs"]
    assert runs["pfn"].dtype == np.int64
    assert runs["order"].dtype == np.uint8
    assert runs["freeing"].dtype == np.bool_
    assert not isinstance(runs["pfn"], np.ma.MaskedArray)
    assert isinstance(runs["use"], Names)
    assert runs["use"].codes.dtype == np.int32
    assert isinstance(runs["node"], np.ma.MaskedArray)
    assert runs["node"].dtype == np.int32
    assert runs["node"].mask.tolist() == [False, True, False]
    assert read.header("boot_time") == 1_700_000_000_000_000
    assert read.header("tables") == [*TABLES]


@pytest.mark.parametrize("tables", [[], ["owners"], ["owners", "runs", "unknown"]])
def test_only_some_tables(tmp_path: Path, tables: list[str]) -> None:
    write_snapshot(tmp_path, made_snapshots.snapshot("h", made_snapshots.T))
    read = read_snapshot(tmp_path, "h", made_snapshots.T, tables)
    assert set(read.tables) == {HEADER, *tables} - {"unknown"}


def test_text_that_is_not_utf8_is_escaped(tmp_path: Path) -> None:
    wanted = made_snapshots.snapshot("h\udc80", made_snapshots.T, ["owners"])
    owners = dict(wanted.tables["owners"].columns)
    owners["name"] = Names.of(["a\udcff", "b", "c"])
    wanted.tables["owners"].columns.update(owners)
    write_snapshot(tmp_path, wanted)
    read = read_snapshot(tmp_path, "h\udc80", made_snapshots.T)
    assert read.tables["owners"]["name"].tolist() == ["a\\udcff", "b", "c"]


def test_encodings(tmp_path: Path) -> None:
    write_snapshot(tmp_path, made_snapshots.snapshot("h", made_snapshots.T))
    (path,) = tmp_path.glob("runs/*/*/*")
    group = pq.read_metadata(path).row_group(0)
    columns = {c["path_in_schema"]: c for c in group.to_dict()["columns"]}
    assert {c["compression"] for c in columns.values()} == {"ZSTD"}
    for name in ("pfn", "owner"):
        assert "DELTA_BINARY_PACKED" in columns[name]["encodings"]
    for name in ("host", "time", "use", "type", "order"):
        assert "RLE_DICTIONARY" in columns[name]["encodings"]
