# SPDX-License-Identifier: GPL-2.0-only
"""SQL of the user: what is refused, each with what it would have done."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pageinspect.errors import UsageError
from pageinspect.fleet import sql
from pageinspect.fleet.engine import Choice, Fleet, opened
from pageinspect.fleet.statement import check_expression, tables_of

CONTENT = "a,b\n1,secret\n"


@pytest.fixture(scope="module")
def fleet(dataset: Path) -> Iterator[Fleet]:
    with opened(dataset) as found:
        yield found


def answered(fleet: Fleet, query: str) -> list[object]:
    (table,) = sql.report(fleet, query).tables()
    return list(table.rows)


REFUSED = {
    "two statements": "SELECT 1; SELECT 2",
    "none": "",
    "a comment": "-- SELECT 1",
    "not SQL": "what grew?",
    "another first": "SET threads=1; SELECT 1",
    "copy": "COPY (SELECT 1) TO '{folder}/new.csv'",
    "copy into the dataset": "COPY (SELECT 1) TO '{dataset}/new.parquet'",
    "copy over a file of the dataset": "COPY (SELECT 1 AS host) TO '{file}'",
    "copy within WITH": "WITH x AS (COPY (SELECT 1 AS host) TO '{file}') SELECT * FROM x",
    "copy over a file of the dataset in place": """COPY (SELECT 1 AS host) TO '{file}'
        (FORMAT parquet, USE_TMP_FILE false)""",
    "copy in place within WITH": """WITH x AS (COPY (SELECT 1 AS host) TO '{file}'
        (FORMAT parquet, USE_TMP_FILE false)) SELECT * FROM x""",
    "copy from": "COPY chosen FROM '{file}'",
    "attach": "ATTACH '{folder}/new.db'",
    "export": "EXPORT DATABASE '{folder}/new'",
    "install": "INSTALL httpfs",
    "load": "LOAD httpfs",
    "set": "SET memory_limit='1TB'",
    "reset": "RESET lock_configuration",
    "pragma": "PRAGMA threads=1",
    "call": "CALL pragma_version()",
    "explain": "EXPLAIN SELECT 1",
    "explain, run": "EXPLAIN ANALYZE SELECT 1",
    "describe": "DESCRIBE owners",
    "summarize": "SUMMARIZE owners",
    "show": "SHOW TABLES",
    "pivot to several statements": "PIVOT owners ON kind",
    "into": "SELECT 1 INTO x",
    "create": "CREATE TABLE x AS SELECT 1",
    "drop": "DROP TABLE chosen",
    "insert": "INSERT INTO chosen SELECT * FROM chosen",
    "insert within WITH": "WITH x AS (INSERT INTO chosen (host) VALUES ('x')) SELECT 1",
    "delete within WITH": "WITH x AS (DELETE FROM chosen RETURNING *) SELECT * FROM x",
    "update within WITH": "WITH x AS (UPDATE chosen SET host = 'x' RETURNING *) SELECT * FROM x",
    "prepared": "PREPARE p AS SELECT 1",
    "read_csv": "SELECT * FROM read_csv('{folder}/secret.csv')",
    "read_csv_auto": "SELECT * FROM Read_CSV_Auto('{folder}/secret.csv')",
    "read_text": "SELECT content FROM read_text('{folder}/secret.csv')",
    "read_blob": "SELECT content FROM read_blob('{folder}/secret.csv')",
    "read_json": "SELECT * FROM read_json('{folder}/secret.csv')",
    "read_parquet": "SELECT * FROM read_parquet('{folder}/secret.parquet')",
    "read_parquet of a file that may be read": "SELECT * FROM read_parquet('{file}')",
    "in a subquery": "SELECT (SELECT max(b) FROM read_csv('{folder}/secret.csv'))",
    "in a join": "SELECT * FROM owners JOIN read_csv('{folder}/secret.csv') ON true",
    "in WITH": "WITH x AS (SELECT * FROM read_csv('{folder}/secret.csv')) SELECT * FROM x",
    "in a union": "SELECT 'a' UNION SELECT b FROM read_csv('{folder}/secret.csv')",
    "in a condition": "SELECT 1 WHERE EXISTS (FROM read_csv('{folder}/secret.csv'))",
    "laterally": "SELECT * FROM owners, LATERAL (FROM read_csv('{folder}/secret.csv'))",
    "glob": "SELECT * FROM glob('{folder}/*')",
    "sniff": "SELECT * FROM sniff_csv('{folder}/secret.csv')",
    "metadata": "SELECT * FROM parquet_metadata('{folder}/secret.parquet')",
    "a file as a table": "SELECT * FROM '{folder}/secret.csv'",
    "a file as a table, quoted": 'SELECT * FROM "{folder}/secret.csv"',
    "a file of the dataset as a table": "SELECT * FROM '{file}'",
    "query": "SELECT * FROM query('FROM chosen')",
    "query_table": "SELECT * FROM query_table('chosen')",
    "settings": "SELECT * FROM duckdb_settings()",
    "settings as a view": "SELECT * FROM duckdb_settings",
    "secrets": "SELECT * FROM duckdb_secrets()",
    "another schema": "SELECT * FROM information_schema.tables",
    "a table of ours": "SELECT * FROM chosen",
    "another catalogue": "SELECT * FROM temp.main.owners",
    "an environment variable": "SELECT getenv('HOME')",
    "a variable of Python": "SELECT * FROM CONTENT",
    "a parameter": "SELECT $1",
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_one_select_on_the_tables_is_refused(
    what: str, fleet: Fleet, dataset: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret.csv").write_text(CONTENT, encoding="utf-8")
    file = next(dataset.glob("owners/host=db-1/*/part.parquet"))
    before = {path: path.read_bytes() for path in dataset.rglob("*.parquet")}
    query = REFUSED[what].format(
        folder=tmp_path,
        dataset=str(dataset).replace("'", "''"),
        file=str(file).replace("'", "''"),
    )
    with pytest.raises(UsageError) as caught:
        answered(fleet, query)
    error = caught.value
    assert error.message.startswith("SQL: ")
    assert "\n" not in error.message + error.hint
    assert error.hint
    assert "secret\n" not in error.message
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]
    assert {path: path.read_bytes() for path in dataset.rglob("*.parquet")} == before


GUARDED = [
    name
    for name in REFUSED
    if "{" in REFUSED[name] and "of the dataset" not in name and "in place" not in name
]


@pytest.mark.parametrize("what", [w for w in GUARDED if "within" not in w and "may be" not in w])
def test_the_engine_itself_denies_other_files(what: str, fleet: Fleet, tmp_path: Path) -> None:
    """Without the check of the statement: DuckDB is closed to all but the listed files."""
    import duckdb

    (tmp_path / "secret.csv").write_text(CONTENT, encoding="utf-8")
    query = REFUSED[what].format(folder=tmp_path, dataset=tmp_path, file=tmp_path / "secret.csv")
    with pytest.raises(duckdb.Error):
        fleet.connection.execute(query).fetchall()
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


@pytest.mark.parametrize("setting", ["threads=1", "lock_configuration=false", "allowed_paths=[]"])
def test_settings_are_locked(setting: str, fleet: Fleet) -> None:
    import duckdb

    with pytest.raises(duckdb.InvalidInputException, match="locked"):
        fleet.connection.execute(f"SET {setting}")


ALLOWED = {
    "SELECT 1": {},
    "select count(*) from OWNERS": {"owners"},
    "FROM owners": {"owners"},
    "VALUES (1), (2)": {},
    "TABLE blocks;": {"blocks"},
    "WITH x AS (SELECT * FROM owners) SELECT * FROM x JOIN runs USING (host)": {"owners", "runs"},
    "WITH owners AS (SELECT * FROM owners) SELECT * FROM owners": {"owners"},
    "SELECT * FROM owners UNION ALL BY NAME SELECT * FROM processes": {"owners", "processes"},
    "SELECT (SELECT max(pages) FROM owners), x FROM unnest([1, 2]) t(x)": {"owners"},
    "SELECT kind FROM owners WHERE pages IN (SELECT counted FROM counters)": {"owners", "counters"},
    "SELECT * FROM (PIVOT owners ON kind IN ('slab') USING sum(pages))": {"owners"},
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 3) FROM r": {},
    "SELECT sum(pages) OVER (PARTITION BY host ORDER BY time) FROM owners": {"owners"},
    "SELECT CAST(pages AS DECIMAL(9, 2)), 'x' || kind FROM owners ORDER BY 1 LIMIT 3": {"owners"},
    "SELECT list_transform([1], lambda x: x + 1), {'a': 1}": {},
}


@pytest.mark.parametrize("query", ALLOWED)
def test_a_select_on_the_tables_is_run(query: str, fleet: Fleet) -> None:
    known = ("runs", "owners", "processes", "counters", "blocks", "snapshots")
    assert tables_of(fleet.connection, query, known) == set(ALLOWED[query])
    answered(fleet, query)


@pytest.mark.parametrize(
    "text",
    [
        "1=1); COPY (SELECT 1) TO 'x'; SELECT (1",
        "1=1) OR (1=1); SELECT 1",
        "true) UNION SELECT (1",
        "true) GROUP BY (1",
        "true) LIMIT (1",
        "true) ORDER BY (1",
        "true) QUALIFY (true",
        "source IN (SELECT name FROM owners)",
        "EXISTS (SELECT 1)",
        "row_number() OVER () = 1",
        "$1",
        "",
        "--",
        "/*",
        "SELECT 1",
        "(" * 2000 + "1" + ")" * 2000,
        "[" * 5000,
    ],
)
def test_a_condition_is_one_expression(text: str, dataset: Path, fleet: Fleet) -> None:
    with pytest.raises(UsageError) as caught:
        check_expression(fleet.connection, text)
    assert caught.value.hint
    with pytest.raises(UsageError), opened(dataset, Choice(where=text)):
        pass


def test_errors_name_what_is_wrong(fleet: Fleet, dataset: Path) -> None:
    with pytest.raises(UsageError, match="there is no table nothing") as caught:
        answered(fleet, "SELECT * FROM nothing")
    assert "snapshots, runs, owners" in caught.value.hint
    with pytest.raises(UsageError, match="flavour") as caught:
        answered(fleet, "SELECT flavour FROM owners")
    assert "docs/dataset.md" in caught.value.hint
    with (
        pytest.raises(UsageError, match="flavour") as caught,
        opened(dataset, Choice(where="flavour = 1")),
    ):
        pass
    assert "release" in caught.value.hint
    with pytest.raises(UsageError, match="Could not convert"):
        answered(fleet, "SELECT host::INTEGER FROM owners")
