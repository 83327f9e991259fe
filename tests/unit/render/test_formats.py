"""Rendering: what people see lines up and is safe, and what machines get is the plain value."""

import csv
import io
from dataclasses import dataclass
from typing import Any

import pytest

from pageinspect.render import render
from pageinspect.report import Column, Table
from pageinspect.units import number, size


@dataclass
class Fake:
    table: Table

    def to_json(self) -> dict[str, Any]:
        return {"schema": 1}

    def to_table(self) -> Table:
        return self.table


def text(table: Table, form: str = "table") -> str:
    stream = io.StringIO()
    render(Fake(table), form, stream)
    return stream.getvalue()


def test_machines_get_plain_values_and_nothing_twice() -> None:
    table = Table(
        (Column("type"), Column("size", size, "right", "bytes"), Column("n", number, "right")),
        [("a", 4096, 1000000), ("b", 0, None)],
        splits={0: [("- part", 1, 1)]},
        total=("total", 4096, 1000000),
        before=("about",),
    )
    assert list(csv.reader(io.StringIO(text(table, "csv")))) == [
        ["type", "bytes", "n"],
        ["a", "4096", "1000000"],
        ["b", "0", ""],
    ]
    shown = text(table)
    assert "1,000,000" in shown
    assert "4 KiB" in shown
    assert shown.index("- part") < shown.index("\nb ")


@pytest.mark.parametrize("form", ["table", "csv"])
def test_control_characters_never_reach_a_terminal(form: str) -> None:
    table = Table((Column("name"),), [("\x1b]0;owned\x07",)], before=("\x1b[2J",))
    shown = text(table, form)
    assert "\x1b" not in shown
    assert "\\x1b]0;owned\\x07" in shown


def test_what_is_too_wide_loses_spare_columns_and_then_wraps_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    columns = (
        Column("name"),
        Column("n", number, "right"),
        Column("size", size, "right", "bytes", spare=1),
    )
    narrow = text(Table(columns, [("x" * 50, 1 << 34, 1023 << 20)]))
    assert narrow.splitlines()[2].split() == ["x" * 50, "17,179,869,184", "1023", "MiB"]
    assert "size" not in text(Table(columns, [("x" * 60, 1 << 34, 1)]))
    lines = text(Table(columns, [("x" * 100, 1 << 34, 1)])).splitlines()
    assert max(map(len, lines)) == 80
    assert "".join(line.split()[0] for line in lines[2:]) == "x" * 100
    monkeypatch.setenv("COLUMNS", "200")
    assert "size" in text(Table(columns, [("x" * 100, 1 << 34, 1)]))


def test_columns_go_by_importance_and_those_without_a_text_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    columns = (
        Column("who"),
        Column("frees", number, "right"),
        Column("size", size, "right", "bytes", spare=2),
        Column("orders", spare=1),
        Column("verdict"),
    )
    monkeypatch.setenv("COLUMNS", "80")
    for wide, verdict, names in (
        (30, None, "who frees size orders verdict"),
        (44, None, "who frees size orders"),
        (54, None, "who frees orders"),
        (62, None, "who frees"),
        (30, "UNEXPECTED", "who frees size orders verdict"),
        (44, "UNEXPECTED", "who frees orders verdict"),
        (52, "UNEXPECTED", "who frees verdict"),
    ):
        shown = text(Table(columns, [("w" * wide, 1, 4096, "0:1", verdict)])).splitlines()
        assert shown[0].split() == names.split(), (wide, verdict)
        assert max(map(len, shown)) <= 80


def test_text_is_wrapped_between_words_before_a_column_goes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    columns = (Column("who"), Column("orders", spare=1), Column("range"))
    orders = " ".join(f"{i}:1000" for i in range(11))
    shown = text(Table(columns, [("w" * 40, orders, "0x1000-0x80000")])).splitlines()
    assert max(map(len, shown)) <= 80
    assert " ".join(line[42:64].strip() for line in shown[2:]) == orders
    assert shown[2].endswith("  0x1000-0x80000")


def test_columns_for_machines_alone() -> None:
    table = Table((Column("a"), Column("b", machines=True)), [("1", True)])
    assert text(table).split() == ["a", "---", "1"]
    assert text(table, "csv") == "a,b\n1,true\n"
    other = Table((Column("c"),), [("3",)], machines=table)
    assert text(other).split() == ["c", "---", "3"]
    assert text(other, "csv") == "a,b\n1,true\n"


def test_prose_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert max(map(len, text(Table((), [], after=("word " * 30,))).splitlines())) <= 40
    told = text(Table((), [], after=("these are the pages of " + "0x1000-0x80000 " * 9,)))
    assert told.split().count("0x1000-0x80000") == 9
