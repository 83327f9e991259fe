# SPDX-License-Identifier: GPL-2.0-only
"""The command line of fleet."""

import contextlib
import csv
import io
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fleet_by_hand
import pytest

from pageinspect.cli.commands.fleet import moment
from pageinspect.cli.main import main
from pageinspect.fleet import engine


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command") / "dataset"
    fleet_by_hand.write(folder, fleet_by_hand.moments())
    return folder


@pytest.fixture(autouse=True)
def _no_watcher(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let no process wait to remove the folder."""

    @contextlib.contextmanager
    def folder() -> Iterator[Path]:
        yield tmp_path

    monkeypatch.setattr(engine, "spill_folder", folder)


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ([], 2, "give a report or --sql"),
        (["hosts", "--sql", "SELECT 1"], 2, "not both"),
        (["--sql", "SELECT 1", "--top", "3"], 2, "--top is not for --sql"),
        (["host"], 2, "did you mean hosts?"),
        (["\x1b[31m"], 2, "there is no report"),
        (["hosts", "--since", "yesterday"], 2, "is not a time"),
        (["hosts", "--since", "9999999d"], 2, "is not a time"),
        (["hosts", "--since", "999999d"], 2, "is not a time"),
        (["hosts", "--where", ""], 2, "SQL: "),
        (["hosts", "--where", "1=1); COPY (SELECT 1) TO 'x'; SELECT (1"], 2, "SQL: "),
        (["--sql", "COPY (SELECT 1) TO 'x'"], 2, "SQL: COPY is refused"),
        (["--sql", ""], 2, "SQL: no statements"),
        (["--sql", "SHOW TABLES"], 2, "SQL: SHOW, DESCRIBE or SUMMARIZE is refused"),
        (["--sql", "PIVOT runs ON use USING sum(pages)"], 2, "SQL: PIVOT without values"),
        (["--sql", "WITH x AS (DELETE FROM runs) SELECT 1"], 2, "SQL: DELETE is refused"),
        (["--sql", "MERGE INTO runs USING runs ON true WHEN MATCHED THEN DELETE"], 2, ": MERGE is"),
        (["--sql", "SELECT no_such(1)"], 2, "SQL: Scalar Function with name no_such"),
        (["hosts", "--memory", "1"], 2, "number of MiB"),
        (["hosts", "--threads", "0"], 2, "number of threads"),
        (["hosts", "--host", "nothing"], 1, "no snapshot that is chosen"),
        (["hosts", "--since", "2027-01-01"], 1, "no snapshot that is chosen"),
    ],
)
def test_what_is_wrong_is_one_line_and_a_hint(
    options: list[str],
    status: int,
    message: str,
    dataset: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["fleet", str(dataset), *options]) == status
    printed = capsys.readouterr()
    first, second = printed.err.splitlines()
    assert message in first + second
    assert second.startswith("  hint: ")
    assert (first + second).isprintable()
    assert not printed.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["growth"], "error: the dataset is missing\n  hint: pageinspect fleet DATASET growth\n"),
        (["growth", "DATASET"], "hint: the dataset comes first: fleet DATASET growth\n"),
        (["DATASET@-2", "hosts"], "hint: --since TIME, --host GLOB and --where EXPR choose"),
        (["DATASET#db-1", "hosts"], "hint: --since TIME, --host GLOB and --where EXPR choose"),
    ],
)
def test_words_in_the_wrong_place(
    words: list[str], message: str, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [word.replace("DATASET", str(dataset)) for word in words]
    assert main(["fleet", *found]) == 2
    assert message in capsys.readouterr().err


def test_options_may_come_before_the_report(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fleet", str(dataset), "--top", "2", "hosts", "--host", "db*"]) == 0
    first = capsys.readouterr().out
    assert main(["fleet", str(dataset), "hosts", "--host", "db*", "--top", "2"]) == 0
    assert first == capsys.readouterr().out
    assert main(["fleet", str(dataset), "hosts", "--top", "2", "uses"]) == 2
    assert "unexpected argument 'uses'" in capsys.readouterr().err


def test_a_dataset_may_have_the_name_of_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("growth", "some@where"):
        fleet_by_hand.write(Path(name), fleet_by_hand.moments()[:2])
        assert main(["fleet", name, "hosts"]) == 0
        assert "db-1" in capsys.readouterr().out


def test_what_is_not_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", str(tmp_path), "hosts"]) == 1
    assert "is not a dataset" in capsys.readouterr().err


def test_ten_rows_for_people_and_all_for_programs(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def rows(*words: str) -> str:
        assert main(["fleet", str(dataset), *words]) == 0
        return capsys.readouterr().out

    assert "\n3 more: --top 0 shows all.\n" in rows("hosts", "--top", "2")
    assert "more:" not in rows("hosts", "--top", "0")
    command = f"    pageinspect fleet {dataset} hosts"
    assert "1 snapshot has an error in place of tables. See:" in rows("uses")
    assert command in rows("uses").splitlines()
    document = json.loads(rows("hosts", "--format", "json"))
    assert list(document) == [
        "schema",
        "report",
        "hosts_chosen",
        "snapshots_chosen",
        "errors",
        "hosts",
    ]
    assert (document["report"], document["snapshots_chosen"], document["errors"]) == (
        "hosts",
        21,
        1,
    )
    assert len(document["hosts"]) == 5
    assert len(json.loads(rows("hosts", "--format", "json", "--top", "2"))["hosts"]) == 2
    query = "SELECT host, sum(pages) AS pages FROM owners GROUP BY host ORDER BY host"
    found = [*csv.DictReader(io.StringIO(rows("--sql", query, "--format", "csv")))]
    assert [row["host"] for row in found] == ["db-1", r"web-\x1b[31m/5", "web-1", "web-2", "web-3"]
    expected = sum(sum(m.owners.values()) for m in fleet_by_hand.moments() if m.host == "db-1")
    assert int(found[0]["pages"]) == expected


def test_the_report_goes_to_a_file(dataset: Path, tmp_path: Path) -> None:
    output = tmp_path / "report.json"
    words = ["--format", "json", "-o", str(output), "--threads", "1", "--memory", "64"]
    assert main(["fleet", str(dataset), "frees", "--where", "source = 'core'", *words]) == 0
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["hosts_chosen"] == 2
    assert {row["type"] for row in found["frees"]} == {"slab"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20261127T201500Z", "20261127T201500Z"),
        ("2026-11-27", "20261127T000000Z"),
        ("2026-11-27T20:15", "20261127T201500Z"),
        ("2026-11-27T20:15:07+02:00", "20261127T181507Z"),
    ],
)
def test_since_a_moment(text: str, expected: str) -> None:
    assert moment(text) == expected


@pytest.mark.parametrize(("text", "hours"), [("7d", 168), ("12h", 12), ("0d", 0)])
def test_since_some_time_ago(text: str, hours: int) -> None:
    found = moment(text)
    assert re.fullmatch(r"\d{8}T\d{6}Z", found)
    then = datetime.strptime(found, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    ago = datetime.now(UTC) - then
    assert timedelta(hours=hours) <= ago < timedelta(hours=hours, minutes=10)
