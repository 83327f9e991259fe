# SPDX-License-Identifier: GPL-2.0-only
"""Rendering: what people see lines up and is safe, and what machines get is the plain value."""

import csv
import io
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pageinspect.render import FORMATS, METRICS, TEXT_FORMATS, formats, load, render
from pageinspect.render.format import find_formats
from pageinspect.report import Absent, Column, Report, Table, View


@dataclass
class Fake(Report):
    seen: View

    def document(self) -> dict[str, Any]:
        return {"schema": 1, "rows": self.seen.table}

    def tables(self) -> tuple[Table, ...]:
        return (self.seen.table,)

    def view(self) -> View:
        return self.seen


def text(columns: tuple[Column, ...], rows: list[Any], form: str = "table", **view: Any) -> str:
    stream = io.StringIO()
    render(Fake(View(Table("rows", columns, rows), **view)), form, stream)
    return stream.getvalue()


NONE = (Absent.NOT_APPLICABLE,)
BYTES = Column("size", "int64", "bytes", "bytes")


def test_machines_get_plain_values_and_nothing_twice() -> None:
    columns = (Column("type"), BYTES, Column("n", "int64", "count", absent=NONE))
    rows = [("a", 4096, 1000000), ("b", 0, Absent.NOT_APPLICABLE)]
    view = {
        "splits": {0: [("- part", 1, 1)]},
        "total": ("total", 4096, 1000000),
        "before": ("about",),
    }
    assert list(csv.reader(io.StringIO(text(columns, rows, "csv", **view)))) == [
        ["type", "bytes", "n"],
        ["a", "4096", "1000000"],
        ["b", "0", ""],
    ]
    objects = [{"type": "a", "bytes": 4096, "n": 1000000}, {"type": "b", "bytes": 0, "n": None}]
    assert json.loads(text(columns, rows, "json", **view)) == {"schema": 1, "rows": objects}
    lines = text(columns, rows, "jsonl", **view).splitlines()
    assert [json.loads(line) for line in lines] == objects
    shown = text(columns, rows, **view)
    assert "1,000,000" in shown
    assert "4 KiB" in shown
    assert shown.index("- part") < shown.index("\nb ")


@pytest.mark.parametrize("form", TEXT_FORMATS)
def test_control_characters_never_reach_a_terminal(form: str) -> None:
    shown = text((Column("name"),), [("\x1b]0;owned\x07",)], form, before=("\x1b[2J",))
    assert shown.replace("\n", "").isprintable()
    assert "owned" in shown


def test_text_is_no_markup_in_markdown() -> None:
    columns = (Column("name"), Column("n", "int64", "count"))
    rows = [("a|b\n*c* <i> [d] `e` _f_ \\ NR_SLAB_B", 1234567)]
    head, rule, row = text(columns, rows, "markdown").splitlines()[:3]
    assert (head, rule) == ("| name | n |", "| :--- | ---: |")
    escaped = r"a\|b\\n\*c\* \<i\> \[d\] \`e\` \_f\_ \\ NR_SLAB_B"
    assert row == f"| {escaped} | 1,234,567 |"


def test_markdown_has_the_lines_around_the_table_and_its_total() -> None:
    shown = text(
        (Column("name"), BYTES, Column("key", machines=True)),
        [("a", 4096, "x")],
        "markdown",
        splits={0: [("- part", 1, "")]},
        total=("total", 4096, ""),
        before=("about", ""),
        after=("", "Stack 1:", "    frame"),
    )
    assert shown.splitlines() == [
        *("about", "", "| name | size |", "| :--- | ---: |"),
        *("| a | 4 KiB |", "| - part | 1 B |", "| total | 4 KiB |"),
        *("", "Stack 1:", "", "- frame", ""),
    ]


def test_a_format_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shout.py").write_text(
        "from pageinspect.render import Format\n"
        "class Shout(Format):\n"
        "    def write(self, report, stream):\n"
        "        for table in report.tables():\n"
        "            self.begin(table, stream)(table.rows)\n"
        "    def begin(self, table, stream):\n"
        "        return lambda rows: stream.writelines(f'{row[0]}!\\n' for row in rows)\n"
        "FORMAT = Shout()\n"
    )
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    assert find_formats() == tuple(sorted((*FORMATS, METRICS, "shout")))
    try:
        assert text((Column("name"),), [("a",), ("b",)], "shout") == "a!\nb!\n"
    finally:
        sys.modules.pop("pageinspect.render.formats.shout", None)


def test_several_tables_say_which_a_row_is_of() -> None:
    left = Table("left", (Column("name"), Column("n", "int64")), [("a", 1)])
    right = Table("right", (Column("n", "int64"), Column("ok", "bool")), [(2, True)])

    class Two(Fake):
        def tables(self) -> tuple[Table, ...]:
            return left, right

    written = {}
    for form in ("csv", "jsonl"):
        stream = io.StringIO()
        render(Two(View(left)), form, stream)
        written[form] = stream.getvalue().splitlines()
    assert written["csv"] == ["table,name,n,ok", "left,a,1,", "right,,2,true"]
    assert [json.loads(line) for line in written["jsonl"]] == [
        {"table": "left", "name": "a", "n": 1},
        {"table": "right", "n": 2, "ok": True},
    ]


def test_a_document_has_a_cell_where_its_column_says() -> None:
    columns = (
        Column("use", document="key[]"),
        Column("zone", document="key[]"),
        Column("n", "int64", document="pages"),
        Column("%", "float64", "percent", "percent", document=None),
        Column("split", "map[string,int64]", absent=NONE, optional=True),
        Column("flags", "list[string]", separator="+"),
    )
    rows = [
        ("anon", "Normal", 3, 1.5, {"x": 1, "y": 2}, ("a", "b")),
        ("file", "DMA", 4, 2.5, Absent.NOT_APPLICABLE, ()),
    ]
    assert json.loads(text(columns, rows, "json"))["rows"] == [
        {"key": ["anon", "Normal"], "pages": 3, "split": {"x": 1, "y": 2}, "flags": ["a", "b"]},
        {"key": ["file", "DMA"], "pages": 4, "flags": []},
    ]
    assert text(columns, rows, "csv").splitlines() == [
        "use,zone,n,percent,split,flags",
        "anon,Normal,3,1.5,x:1 y:2,a+b",
        "file,DMA,4,2.5,,",
    ]
    assert json.loads(text(columns, rows, "jsonl").splitlines()[1]) == {
        "use": "file",
        "zone": "DMA",
        "n": 4,
        "percent": 2.5,
        "split": None,
        "flags": [],
    }


@pytest.mark.parametrize("absent", Absent)
def test_people_read_why_a_cell_is_empty_where_the_column_says(absent: Absent) -> None:
    columns = (Column("a"), Column("b", "int64", absent=(absent,), blank="why"))
    rows = [("1", absent)]
    assert text(columns, rows).split()[-2:] == ["1", "why"]
    assert text(columns, rows, "csv") == "a,b\n1,\n"
    assert json.loads(text(columns, rows, "jsonl")) == {"a": "1", "b": None}
    stream = io.StringIO()
    wide = tuple(replace(column, width=6) for column in columns)
    load("table").begin(Table("rows", wide, ()), stream)(rows)
    assert stream.getvalue().splitlines()[2] == "1          why"


def test_what_is_too_wide_loses_spare_columns_and_then_wraps_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    columns = (
        Column("name"),
        Column("n", "int64", "count"),
        Column("size", "int64", "bytes", "bytes", spare=1),
    )
    narrow = text(columns, [("x" * 50, 1 << 34, 1023 << 20)])
    assert narrow.splitlines()[2].split() == ["x" * 50, "17,179,869,184", "1023", "MiB"]
    left_out = "Left out for the width: size (--format csv or json has all)"
    assert left_out not in narrow
    assert "size" not in text(columns, [("x" * 60, 1 << 34, 1)]).splitlines()[0]
    *lines, blank, last = text(columns, [("x" * 100, 1 << 34, 1)]).splitlines()
    assert (blank, last) == ("", left_out)
    assert max(map(len, lines)) == 80
    assert "".join(line.split()[0] for line in lines[2:]) == "x" * 100
    monkeypatch.setenv("COLUMNS", "200")
    assert "size" in text(columns, [("x" * 100, 1 << 34, 1)])


def test_streamed_rows_name_the_columns_that_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns = (Column("name", width=70), Column("other", width=30, spare=1))
    left_out = "\nLeft out for the width: other (--format csv or json has all)\n"
    monkeypatch.setenv("COLUMNS", "80")
    assert text(columns, [("a", "b"), ("c", "d")]).endswith(f"\nc\n{left_out}")
    assert text(columns, []) == ""
    monkeypatch.setenv("COLUMNS", "120")
    assert "Left out" not in text(columns, [("a", "b")])


def test_columns_go_by_importance_and_those_without_a_text_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns = (
        Column("who"),
        Column("frees", "int64", "count"),
        Column("size", "int64", "bytes", "bytes", spare=2),
        Column("orders", spare=1),
        Column("verdict", absent=NONE),
    )
    monkeypatch.setenv("COLUMNS", "80")
    for wide, verdict, names in (
        (30, Absent.NOT_APPLICABLE, "who frees size orders verdict"),
        (44, Absent.NOT_APPLICABLE, "who frees size orders"),
        (54, Absent.NOT_APPLICABLE, "who frees orders"),
        (62, Absent.NOT_APPLICABLE, "who frees"),
        (30, "UNEXPECTED", "who frees size orders verdict"),
        (44, "UNEXPECTED", "who frees orders verdict"),
        (52, "UNEXPECTED", "who frees verdict"),
    ):
        shown = text(columns, [("w" * wide, 1, 4096, "0:1", verdict)]).splitlines()
        assert shown[0].split() == names.split(), (wide, verdict)
        assert max(map(len, shown)) <= 80


def test_text_is_wrapped_between_words_before_a_column_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    columns = (Column("who"), Column("orders", spare=1), Column("range"))
    orders = " ".join(f"{i}:1000" for i in range(11))
    shown = text(columns, [("w" * 40, orders, "0x1000-0x80000")]).splitlines()
    assert max(map(len, shown)) <= 80
    assert " ".join(line[42:64].strip() for line in shown[2:]) == orders
    assert shown[2].endswith("  0x1000-0x80000")


def test_columns_for_machines_alone() -> None:
    columns = (Column("a"), Column("b", "bool", machines=True))
    assert text(columns, [("1", True)]).split() == ["a", "---", "1"]
    assert text(columns, [("1", True)], "csv") == "a,b\n1,true\n"


def test_prose_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert max(map(len, text((), [], after=("word " * 30,)).splitlines())) <= 40
    shown = text((), [], after=("these are the pages of " + "0x1000-0x80000 " * 9,))
    assert shown.split().count("0x1000-0x80000") == 9


def test_a_command_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    command = "    pageinspect list -c CORE --owner 'static:mempool integrity_buf_pool'"
    for place in ("before", "after"):
        assert command in text((), [], **{place: ("Pages of the first:", command)}).splitlines()
