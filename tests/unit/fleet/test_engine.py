# SPDX-License-Identifier: GPL-2.0-only
"""Which files are read, and what becomes of files that are old, new, damaged or foreign."""

import io
import json
import sys
from datetime import timedelta
from pathlib import Path

import fleet_by_hand
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pageinspect.dataset.compact import compact
from pageinspect.dataset.write import write_snapshot
from pageinspect.errors import PageInspectError, UsageError
from pageinspect.fleet import sql
from pageinspect.fleet.engine import Choice, Limits, opened
from pageinspect.fleet.questions import QUESTIONS, ask
from pageinspect.model.snapshot import TABLES, Snapshot, SnapshotTable
from pageinspect.render import TEXT_FORMATS, render

MOMENTS = fleet_by_hand.moments()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A dataset of two hosts that the test changes."""
    fleet_by_hand.write(tmp_path / "own", MOMENTS[:8])
    return tmp_path / "own"


def written(dataset: Path, question: str, form: str = "json", **choice: str) -> str:
    stream = io.StringIO()
    with opened(dataset, Choice(**choice)) as fleet:
        render(ask(fleet, question), form, stream)
    return stream.getvalue()


def selected(dataset: Path, query: str, form: str = "json", **choice: str) -> str:
    stream = io.StringIO()
    with opened(dataset, Choice(**choice)) as fleet:
        render(sql.report(fleet, query), form, stream)
    return stream.getvalue()


def rows(dataset: Path, query: str, **choice: str) -> list[object]:
    return list(json.loads(selected(dataset, query, **choice))["rows"])


def part(dataset: Path, table: str, moment: fleet_by_hand.Moment) -> Path:
    return dataset / table / f"host={moment.host}" / f"time={moment.time}" / "part.parquet"


@pytest.mark.parametrize("question", QUESTIONS)
def test_merged_days_give_the_same_answers(question: str, own: Path) -> None:
    before = written(own, question)
    compact(own)
    assert not [*own.glob("*/host=*/*/part.parquet")]
    assert written(own, question) == before
    since = MOMENTS[2].time
    fleet_by_hand.write(own, [fleet_by_hand.moments()[12]])
    assert len(json.loads(written(own, "hosts"))["hosts"]) == 3
    (first, *_) = json.loads(written(own, "hosts", since=since, host="db*"))["hosts"]
    assert (first["first"], first["snapshots"]) == (since, 2)


def test_the_hour_counts_in_files_of_whole_days(own: Path) -> None:
    compact(own)
    query = "SELECT DISTINCT host FROM owners WHERE time < '2026-11-05 00:00:00+00'"
    assert rows(own, query, since="20261104T033000Z") == [{"host": "web-1"}]


def test_a_snapshot_without_its_row_does_not_count(own: Path) -> None:
    part(own, "snapshots", MOMENTS[3]).unlink()
    assert rows(own, "SELECT count(DISTINCT (host, time)) AS n FROM owners") == [{"n": 7}]
    assert max(row["snapshots"] for row in json.loads(written(own, "hosts"))["hosts"]) == 4


def test_what_was_merged_counts_once(own: Path) -> None:
    query = "SELECT sum(pages) AS n, count(*) AS rows FROM owners"
    before = rows(own, query)
    kept = {path: path.read_bytes() for path in own.rglob("part.parquet")}
    compact(own)
    for path, data in kept.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    assert rows(own, query) == before


def test_columns_that_older_files_lack_are_null(own: Path) -> None:
    for moment in MOMENTS[:7]:
        for table, column in (("snapshots", "uses"), ("owners", "caller"), ("frees", "seconds")):
            path = part(own, table, moment)
            pq.write_table(pq.read_table(path, partitioning=None).drop_columns([column]), path)
    found = rows(own, "SELECT count(*) AS all, count(uses) AS some FROM snapshots")
    assert found == [{"all": 8, "some": 1}]
    (use, *_) = json.loads(written(own, "uses"))["uses"]
    assert use["lowest_hosts"] == ["web-1"]
    path = part(own, "owners", MOMENTS[7])
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["caller"]), path)
    assert rows(
        own, "SELECT count(*) AS all, count(caller) AS n FROM owners WHERE kind = 'free'"
    ) == [{"all": 8, "n": 0}]


def test_columns_that_a_newer_file_has_do_no_harm(own: Path) -> None:
    path = part(own, "owners", MOMENTS[0])
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.append_column("later", pa.array([1] * len(table))), path)
    assert json.loads(written(own, "growth"))["owners"]
    with pytest.raises(UsageError, match="later"):
        rows(own, "SELECT later FROM owners")


def test_a_newer_version_is_refused(own: Path) -> None:
    path = part(own, "snapshots", MOMENTS[0])
    table = pq.read_table(path, partitioning=None)
    at = table.column_names.index("schema")
    pq.write_table(table.set_column(at, "schema", pa.array([2], pa.int32())), path)
    with pytest.raises(PageInspectError, match=r"newer version \(schema 2; this one reads 1\)"):
        written(own, "hosts")
    assert written(own, "hosts", host="web*")


@pytest.mark.parametrize("junk", [b"", b"PAR1", b"junk" * 1000, "metadata", "pages"])
def test_a_damaged_file_is_named(junk: bytes | str, own: Path) -> None:
    path = part(own, "owners", MOMENTS[1])
    data = path.read_bytes()
    if junk == "metadata":
        junk = data[:-30] + b"\xff" * 22 + data[-8:]
    elif junk == "pages":
        junk = data[:30] + b"\xff" * 40 + data[70:]
    assert isinstance(junk, bytes)
    path.write_bytes(junk)
    for ask_for in (lambda: written(own, "growth"), lambda: rows(own, "SELECT * FROM owners")):
        with pytest.raises(PageInspectError) as caught:
            ask_for()
        assert caught.value.message == f"{path} is damaged or is not a Parquet file"
        folder = part(own, "snapshots", MOMENTS[1]).parent
        assert f"move {folder} out of the dataset" in caught.value.hint
    assert json.loads(written(own, "uses"))["uses"], "owners are not needed for it"
    folder.rename(own.parent / "moved")
    assert json.loads(written(own, "growth"))["snapshots_chosen"] == 7


def test_foreign_files_do_no_harm(own: Path) -> None:
    before = written(own, "growth")
    (own / "owners" / "notes.txt").write_text("notes", encoding="utf-8")
    (own / "owners" / "host=db-1" / "copy.parquet").write_bytes(b"junk")
    (own / "later").mkdir()
    assert written(own, "growth") == before


def test_only_tables_that_a_report_needs_are_opened(own: Path) -> None:
    for table, wanted in (("owners", "contiguity"), ("blocks", "growth"), ("frees", "uses")):
        damaged = part(own, table, MOMENTS[0])
        data = damaged.read_bytes()
        damaged.write_bytes(b"junk")
        assert written(own, wanted)
        with pytest.raises(PageInspectError):
            rows(own, f"SELECT count(*) FROM {table}")
        damaged.write_bytes(data)


def test_only_files_of_the_newest_snapshots_are_opened(own: Path) -> None:
    before = written(own, "contiguity"), written(own, "outliers")
    for table in ("owners", "blocks"):
        for moment in MOMENTS[:3]:
            part(own, table, moment).write_bytes(b"junk")
    assert (written(own, "contiguity"), written(own, "outliers")) == before


def test_without_snapshots(tmp_path: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    with pytest.raises(PageInspectError, match="has no snapshots"):
        written(tmp_path, "hosts")


def test_when_nothing_was_chosen(own: Path) -> None:
    for choice in ({"since": "20270101T000000Z"}, {"host": ""}, {"where": "false"}):
        with pytest.raises(PageInspectError) as caught:
            written(own, "hosts", **choice)
        assert "no snapshot that is chosen" in caught.value.message


def test_without_duckdb(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(PageInspectError) as caught:
        written(own, "hosts")
    assert caught.value.hint == f"{sys.executable} -m pip install 'pageinspect[fleet]'"


def test_what_does_not_fit_in_memory_goes_to_the_folder(own: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    query = "SELECT * FROM (SELECT host || range AS s FROM snapshots, range(400000)) ORDER BY s"
    with opened(own, limits=Limits(64, 1)) as fleet:
        with pytest.raises(PageInspectError) as caught:
            list(sql.report(fleet, query).tables()[0].rows)
        assert "memory" in caught.value.message
        assert "--memory" in caught.value.hint
    with opened(own, limits=Limits(64, 1, tmp_path / "folder")) as fleet:
        report = sql.report(fleet, query)
        assert sum(1 for _ in report.tables()[0].rows) == 8 * 400000


@pytest.mark.parametrize("form", TEXT_FORMATS)
@pytest.mark.parametrize("question", QUESTIONS)
def test_nothing_that_a_terminal_obeys(question: str, form: str, dataset: Path) -> None:
    text = written(dataset, question, form)
    assert text.endswith("\n") or (question, form) == ("outliers", "jsonl"), "it has none"
    assert text.replace("\n", "").isprintable()


def test_rows_of_a_query_have_types_of_their_own(own: Path) -> None:
    query = """SELECT 1::UTINYINT AS a, 2.5::DECIMAL(4, 2) AS b, true AS c, NULL AS d, 'x' AS e,
        ['y', NULL] AS f, MAP {'k': 3} AS g, {'s': DATE '2026-11-27'} AS h, 'nan'::DOUBLE AS i,
        TIMESTAMPTZ '2026-11-27 20:15:00+00' AS j, INTERVAL 2 SECOND AS k, '\\x01'::BLOB AS l,
        [1, 2] AS m, 5::HUGEINT AS n, 1 AS a"""
    (row,) = rows(own, query)
    assert row == {
        "a": 1,
        "b": 2.5,
        "c": True,
        "d": None,
        "e": "x",
        "f": ["y", ""],
        "g": {"k": 3},
        "h": {"s": "2026-11-27"},
        "i": None,
        "j": "2026-11-27T20:15:00+00:00",
        "k": "2.0",
        "l": "\x01",
        "m": [1, 2],
        "n": 5,
        "a_2": 1,
    }
    with pytest.raises(UsageError, match="more than 64 bits"):
        rows(own, "SELECT 1::HUGEINT << 70 AS n")


def test_long_texts_are_cut_for_people(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    remark = "Texts of more than 40 characters are cut: --format csv or json has all."
    query = "SELECT host, repeat('x', 41) AS a, repeat('y', 40) AS b FROM snapshots LIMIT 1"
    for form in ("table", "markdown"):
        found = selected(own, query, form)
        assert "x" * 39 + "…" in found
        assert "x" * 40 not in found
        assert remark in found
        assert remark not in selected(own, "SELECT repeat('y', 40) AS b", form)
    assert "y" * 40 in selected(own, query, "markdown")
    assert "x" * 41 in selected(own, query, "csv")
    everything = selected(own, "SELECT * FROM snapshots", "table").splitlines()
    assert max(map(len, everything)) <= 80
    assert everything[2].split()[:2] == ["host", "time"]


def test_people_get_the_first_rows_of_a_query(own: Path) -> None:
    stream = io.StringIO()
    with opened(own) as fleet:
        report = sql.report(fleet, "SELECT range FROM range(10000000)", 3)
        render(report, "table", stream)
        # The others were not computed.
        assert fleet.connection.fetchone() is not None
    assert stream.getvalue().endswith("Only the first 3 rows: --format csv or json has all.\n")
    with opened(own) as fleet:
        assert sql.report(fleet, "SELECT range FROM range(3)", 3).late() == ""


@pytest.mark.parametrize("form", ["table", "markdown"])
def test_a_query_without_rows_is_a_sentence(form: str, own: Path) -> None:
    text = selected(own, "SELECT * FROM owners WHERE false", form)
    assert " ".join(text.split()) == "8 snapshots of 2 hosts No rows."
    assert "\n\n\n" not in text


def test_times_are_in_utc(own: Path) -> None:
    found = rows(own, "SELECT time, taken FROM snapshots WHERE host = 'db-1' ORDER BY time LIMIT 1")
    assert found == [{"time": "2026-11-02T03:00:00+00:00", "taken": "2026-11-02T03:00:00+00:00"}]


def test_views_have_the_columns_of_the_description(own: Path) -> None:
    for table, fields in TABLES.items():
        with opened(own) as fleet:
            report = sql.report(fleet, f"SELECT * FROM {table}")
            columns = [column.key for column in report.tables()[0].columns]
        assert columns == ["host", "time", *(field.name for field in fields)]


VALUES: dict[str, object] = {
    "bool": True,
    "uint8": 9,
    "int32": 1,
    "int64": 2,
    "float64": 0.5,
    "text": "text",
    "name": "name",
    "names": ["a", "b"],
    "pages by name": {"slab": 3},
    "time": 1_000_000,
}


def test_every_column_of_every_table_can_be_read(tmp_path: Path) -> None:
    known = {"tables": list(TABLES), "kernel": "{}", "error": None, "schema": 1}
    made = {
        table: {field.name: VALUES[field.kind] for field in fields}
        for table, fields in TABLES.items()
    }
    made["snapshots"] |= known
    tables = {
        table: SnapshotTable.of_rows(table, [tuple(row.values())]) for table, row in made.items()
    }
    write_snapshot(tmp_path / "whole", Snapshot("host", "20261127T201500Z", tables))
    for table, row in made.items():
        (found,) = rows(tmp_path / "whole", f"SELECT * FROM {table}")
        assert isinstance(found, dict)
        for field in TABLES[table]:
            if field.kind != "time":
                assert found[field.name] == row[field.name], field.name
    query = 'SELECT "order", sum(pages) AS pages FROM runs GROUP BY "order"'
    assert rows(tmp_path / "whole", query) == [{"order": 9, "pages": 2}]


def test_a_choice_limits_the_tables_of_a_query(own: Path) -> None:
    query = "SELECT DISTINCT host FROM owners"
    assert rows(own, query, where="source = 'core'") == [{"host": "db-1"}]
    assert rows(own, query, host="web*") == [{"host": "web-1"}]
    later = MOMENTS[0].at + timedelta(days=2)
    found = rows(own, "SELECT min(time) AS t FROM owners", since=f"{later:%Y%m%dT%H%M%SZ}")
    assert found == [{"t": f"{later:%Y-%m-%dT%H:%M:%S}+00:00"}]
