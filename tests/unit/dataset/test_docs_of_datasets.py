# SPDX-License-Identifier: GPL-2.0-only
"""docs/dataset.md: its queries give what our readers give, and its tables are the code's."""

import re
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from crashes import killed_at_each_call
from made_snapshots import KEYS, LATER, NEXT_DAY, SOME, T, filled, snapshot
from places import DOCS

from pageinspect.dataset import merge, paths, schema
from pageinspect.dataset.compact import compact
from pageinspect.dataset.files import committed
from pageinspect.dataset.paths import part_of
from pageinspect.dataset.read import snapshots
from pageinspect.dataset.write import write_snapshot
from pageinspect.model.snapshot import HEADER, SCHEMA, TABLES, Field
from pageinspect.units import number

PAGE = DOCS / "dataset.md"
TEXT = PAGE.read_text(encoding="utf-8")


def code(name: str, language: str) -> str:
    block = TEXT.partition(f"<!-- {name} -->\n```{language}\n")[2]
    return block.partition(f"```\n<!-- end of {name} -->")[0]


def selected(dataset: Path, other: str | None = None) -> list[tuple[Any, ...]]:
    """Return the rows of the query in docs, or of another one with its views."""
    *views, query = code("duckdb", "sql").replace("DATASET", str(dataset)).split(";\n\n")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for view in views:
            connection.execute(view)
        return connection.execute(other or query).fetchall()


def queried(dataset: Path) -> list[tuple[Any, ...]]:
    """Return the rows of the query in docs."""
    rows = selected(dataset)
    return [(host, f"{time:%Y%m%dT%H%M%SZ}", kind, int(pages)) for host, time, kind, pages in rows]


def expected(keys: list[tuple[str, str]]) -> list[tuple[Any, ...]]:
    """Rows 0 and 1 of each snapshot have one kind and the pages 0 and 10**12, row 2 2*10**12."""
    rows = [
        (*key, kind, pages)
        for key in keys
        for kind, pages in (("name 0", 10**12), ("name 1", 2 * 10**12))
    ]
    return sorted(rows, key=lambda row: (-row[3], row[0], row[1], row[2]))


def test_the_query_of_duckdb(tmp_path: Path) -> None:
    filled(tmp_path, SOME)
    assert queried(tmp_path) == expected(KEYS)
    part_of(tmp_path, HEADER, "h", LATER).unlink()
    left = [key for key in KEYS if key != ("h", LATER)]
    assert queried(tmp_path) == expected(left)
    compact(tmp_path)
    write_snapshot(tmp_path, snapshot("b", NEXT_DAY, SOME))
    assert queried(tmp_path) == expected(sorted([*left, ("b", NEXT_DAY)]))


def test_the_query_of_another_page(tmp_path: Path) -> None:
    page = (DOCS / "snapshot.md").read_text(encoding="utf-8")
    query = page.partition("```sql\n")[2].partition("```")[0].replace("slab", "name 1")
    for host in ("a", "b"):
        write_snapshot(tmp_path, snapshot(host, T, SOME))
    wanted = [("name 0", "name 1", "name 1", 2 * 10**12)] * 2
    assert selected(tmp_path, query) == wanted
    compact(tmp_path)
    assert selected(tmp_path, query) == wanted


def test_the_query_of_duckdb_at_each_step_of_a_merge(tmp_path: Path) -> None:
    start = filled(tmp_path / "start", ["owners"])
    compact(start)
    write_snapshot(start, snapshot("b", T, ["owners"]))

    def copied() -> Path:
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        return shutil.copytree(start, tmp_path / "copy")

    for dataset in killed_at_each_call(copied, compact):
        assert queried(dataset) == expected(sorted([*KEYS, ("b", T)]))


def test_the_query_of_polars(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    filled(tmp_path, SOME)
    compact(tmp_path)
    write_snapshot(tmp_path, snapshot("unfinished", T, SOME))
    part_of(tmp_path, HEADER, "unfinished", T).unlink()
    source = code("polars", "python").replace("DATASET", str(tmp_path))
    shown: list[Any] = []
    exec(source, {"print": shown.append})  # noqa: S102 - our own page
    (frame,) = shown
    assert isinstance(frame, polars.DataFrame)
    rows = [(host, f"{time:%Y%m%dT%H%M%SZ}", kind, n) for host, time, kind, n in frame.rows()]
    assert sorted(rows) == sorted(expected(KEYS))


def test_files_that_count_are_enough_for_other_engines(tmp_path: Path) -> None:
    filled(tmp_path, SOME)
    compact(tmp_path)
    write_snapshot(tmp_path, snapshot("b", T, SOME))
    files = [str(path) for path in committed(tmp_path, "frees")]
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(
            "SELECT host, time, count(*) FROM read_parquet(?, hive_partitioning = false, "
            "union_by_name = true) GROUP BY ALL ORDER BY ALL",
            [files],
        ).fetchall()
    assert [(host, f"{time:%Y%m%dT%H%M%SZ}", n) for host, time, n in found] == [
        (entry.host, entry.time, 3) for entry in snapshots(tmp_path)
    ]


def line(field: Field) -> str:
    kind = str(schema.arrow_field(field).type)
    kind = {
        "dictionary<values=string, indices=int32, ordered=0>": "name",
        "list<item: string>": "list of string",
        "list<element: string>": "list of string",
        "map<string, int64>": "map of string to int64",
        "timestamp[us, tz=UTC]": "timestamp, UTC",
        "double": "float64",
    }.get(kind, kind)
    return f"| `{field.name}` | {kind} | {field.unit} | {field.meaning} | {field.absent} |\n"


def generated() -> str:
    head = "| column | type | unit | has | null if |\n|---|---|---|---|---|\n"
    parts = [head, *map(line, schema.KEYS)]
    for name, fields in TABLES.items():
        parts += [f"\n### {name}\n\n", head, *map(line, fields)]
    return "".join(parts)


def test_the_tables(request: pytest.FixtureRequest) -> None:
    before, begin, rest = TEXT.partition("<!-- tables -->\n")
    shown, end, after = rest.partition("<!-- end of tables -->")
    if request.config.getoption("--update-golden"):
        PAGE.write_text(f"{before}{begin}{generated()}{end}{after}", encoding="utf-8")
        return
    assert shown == generated(), "run pytest with --update-golden"


def test_numbers_in_the_text() -> None:
    text = " ".join(TEXT.split())
    assert f"the version of the tables, now {SCHEMA}." in text
    assert f"row groups of {number(merge.GROUP_ROWS)} rows" in text
    assert f"It has at most {paths._LONGEST - len('host=')} bytes" in text
    assert schema.SCHEMA_KEY.decode() in text
    assert paths.time_of(datetime(2026, 11, 27, 20, 15, tzinfo=UTC).timestamp()) in text
    assert re.search(rf"`pip install '{re.escape('pageinspect[snapshot]')}'`", text)
