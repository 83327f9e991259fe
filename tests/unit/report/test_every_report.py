# SPDX-License-Identifier: GPL-2.0-only
"""Every report in every format, and its cells as their columns declare them."""

import csv
import io
import json
import re
from collections.abc import Mapping
from typing import Any, get_args

import pytest
from every_report import HOSTILE, REPORTS
from places import DOCS
from trace_reports import broken_down

from pageinspect.model.table import Absent, Column, Table, Unit
from pageinspect.render import FORMATS, METRICS, TEXT_FORMATS, render
from pageinspect.report.event import EventLines

OF_DTYPE: dict[str, Any] = {
    "int64": lambda cell: type(cell) is int and -(1 << 63) <= cell < 1 << 63,
    "uint64": lambda cell: type(cell) is int and 0 <= cell < 1 << 64,
    "float64": lambda cell: type(cell) is float,
    "bool": lambda cell: type(cell) is bool,
    "string": lambda cell: type(cell) is str,
    "list[string]": lambda cell: type(cell) is tuple and all(type(each) is str for each in cell),
    "map[string,int64]": lambda cell: (
        isinstance(cell, Mapping)
        and all(type(key) is str and type(value) is int for key, value in cell.items())
    ),
    "json": lambda cell: bool(json.dumps(cell)),
}
every_report = pytest.mark.parametrize("name", REPORTS)


def written(name: str, form: str) -> str:
    stream = io.StringIO()
    render(REPORTS[name](), form, stream)
    return stream.getvalue()


def as_text(column: Column, value: Any) -> str:
    """Return what csv should have of a value of json lines."""
    if value is None:
        return ""
    if isinstance(value, list) and column.dtype == "list[string]":
        value = column.separator.join(value)
    if isinstance(value, dict) and column.dtype == "map[string,int64]":
        # A key is as in json where its end could not be seen.
        value = " ".join(
            f"{json.dumps(key) if {' ', ':', chr(34)} & {*key} else key}:{n}"
            for key, n in value.items()
        )
    if not isinstance(value, str):
        return json.dumps(value)
    return re.sub(r"[^ -~…]", lambda match: ascii(match[0])[1:-1], value)


def tables_of(name: str) -> tuple[Table, ...]:
    report = REPORTS[name]()
    streams = name.startswith("list")
    documents = () if streams else report.document().values()
    return (*report.tables(), *(value for value in documents if isinstance(value, Table)))


@every_report
def test_cells_are_what_their_columns_declare(name: str) -> None:
    tables = tables_of(name)
    assert tables
    for table in tables:
        assert len({column.key for column in table.columns}) == len(table.columns)
        rows = list(table.rows)
        assert rows or table.name in ("typed", "counters", "tails")
        for row in rows:
            for column, cell in zip(table.columns, row, strict=True):
                if isinstance(cell, Absent):
                    assert cell in column.absent, (column, row)
                else:
                    assert OF_DTYPE[column.dtype](cell), (column, cell)


@every_report
def test_csv_and_json_lines_have_the_same_values(name: str) -> None:
    tables = REPORTS[name]().tables()
    columns = {column.key: column for table in tables for column in table.columns}
    records = [json.loads(line) for line in written(name, "jsonl").splitlines()]
    rows = list(csv.DictReader(io.StringIO(written(name, "csv"))))
    several = ["table"] if len(tables) > 1 else []
    assert list(rows[0]) == [*several, *columns]
    for row, record in zip(rows, records, strict=True):
        for key in several:
            assert row.pop(key) == record.pop(key)
        assert {key: row.pop(key) for key in record} == {
            key: as_text(columns[key], value) for key, value in record.items()
        }
        assert not any(row.values())


@every_report
def test_arrays_of_the_document_are_its_tables(name: str) -> None:
    document = json.loads(written(name, "json"))
    assert next(iter(document)) == "schema"
    report = REPORTS[name]()
    for key, value in report.document().items():
        if isinstance(value, Table):
            shown = {c.document or c.key for c in value.columns if c.document is not None}
            shown = {each.removesuffix("[]") for each in shown}
            always = shown - {c.key for c in value.columns if c.optional}
            assert value.name == key
            for row in document[key]:
                assert always <= set(row) <= shown


@every_report
def test_markdown_is_pipe_tables(name: str) -> None:
    blocks = written(name, "markdown").split("\n\n")
    tables = [block.splitlines() for block in blocks if block.startswith("|")]
    several = {
        "fleet growth": 2,
        "fleet contiguity": 3,
        "owners": 2,
        "audit": 3,
        "contiguity": 6,
        "contiguity of the first": 6,
    }
    several |= {"trace --life": 2, "trace --types-at-alloc": 2}
    several |= {"trace --alloc": 2, "trace --alloc of an interval": 2}
    several |= {"diff by owner": 2, "diff by name, the first": 2, "owners of readings": 2}
    assert len(tables) == several.get(name, 1)
    for rows in tables:
        assert all(row.startswith("|") for row in rows)
        assert re.fullmatch(r"\|( (:---|---:) \|)+", rows[1])
        bars = {len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows}
        assert bars == {rows[1].count("|")}


@pytest.mark.parametrize("form", TEXT_FORMATS)
@every_report
def test_nothing_that_a_terminal_obeys(name: str, form: str) -> None:
    shown = written(name, form)
    assert shown.endswith("\n")
    assert shown.replace("\n", "").isprintable()
    names = ("owners by", "diff by name", "diff by file", "diff by process", "diff by cgroup")
    if name in ("audit", "check", "doctor") or name.startswith(names):
        assert "]0;a" in shown
        assert HOSTILE not in shown


def command_of(name: str) -> str:
    return re.split(" (?:of|by) ", name, maxsplit=1)[0]


def formats_of(name: str) -> dict[str, str]:
    """Return the formats that have each table of a report."""
    report = REPORTS[name]()
    rows = {table.name for table in report.tables()}
    document = {key for key, value in report.document().items() if isinstance(value, Table)}
    return {
        table: "all" if table in rows & document else "jsonl, csv" if table in rows else "json"
        for table in rows | document
    }


def described() -> str:
    """Return the tables of all reports as docs/output.md lists them, one row per column."""
    events = EventLines(broken_down(stacks=True).subject).table()
    formats = {("trace", events.name): "all"}
    columns: dict[tuple[str, str], dict[str, list[Column]]] = {}
    tables = [
        ("trace", events),
        *((command_of(name), t) for name in REPORTS for t in tables_of(name)),
    ]
    for name in REPORTS:
        formats |= {(command_of(name), table): form for table, form in formats_of(name).items()}
    for command, table in tables:
        for column in table.columns:
            columns.setdefault((command, table.name), {}).setdefault(column.key, []).append(column)
    lines = ["| command | table | formats | key | dtype | unit | missing |", f"|{7 * '---|'}"]
    for (command, table), keys in sorted(columns.items()):
        for key, same in keys.items():
            ((dtype, unit),) = {(column.dtype, column.unit) for column in same}
            absent = {kind for column in same for kind in column.absent}
            missing = ", ".join(kind.value for kind in Absent if kind in absent)
            cells = (command, table, formats[command, table], f"`{key}`", dtype, unit, missing)
            lines.append(f"| {' | '.join(cells)} |".replace("  ", " "))
    return "".join(f"{line}\n" for line in lines)


def test_the_documentation_has_every_column(request: pytest.FixtureRequest) -> None:
    path = DOCS / "output.md"
    before, begin, rest = path.read_text(encoding="utf-8").partition("<!-- columns -->\n")
    shown, end, after = rest.partition("<!-- end of columns -->")
    if request.config.getoption("--update-golden"):
        path.write_text(f"{before}{begin}{described()}{end}{after}", encoding="utf-8")
        return
    assert shown == described(), "run pytest with --update-golden"


def test_the_documentation_has_every_format_absence_and_unit() -> None:
    text = (DOCS / "output.md").read_text(encoding="utf-8")
    for name in (*(f"`{form}`" for form in (*FORMATS, METRICS)), *(each.value for each in Absent)):
        assert f"\n| {name} |" in text, name
    for unit in set(get_args(Unit)) - {""}:
        assert f"\n| {unit} |" in text, unit
