"""Rendering: what people see lines up and is safe, and what machines get is the plain value."""

import csv
import io
from dataclasses import dataclass
from typing import Any

import pytest
from synthetic import MODERN

from pageinspect.render import render
from pageinspect.report import Column, Table
from pageinspect.report.base import Coverage
from pageinspect.report.summary import SummaryReport, SummaryRow
from pageinspect.target import Provenance
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


def test_the_largest_numbers_line_up_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    pages = 1 << 34
    rows = [
        SummaryRow((name,), pages, pages, "0xf8")
        for name in ("buddy", "large_kmalloc", "unaccepted")
    ]
    rows.append(SummaryRow(("untyped",), 7, 7, None, (("mapped", 3), ("reset", 4))))
    report = SummaryReport(
        Provenance("7.3.4+deb13-cloud-amd64", "core", "btf"),
        MODERN,
        Coverage(3 * pages + 7, 0),
        ("type",),
        tuple(rows),
        0,
    )
    stream = io.StringIO()
    render(report, "table", stream)
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    body = lines[2:]
    assert len({len(line) for line in body if line.endswith("B")}) == 1
    assert f"{pages:,}" in stream.getvalue()


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


def test_prose_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert max(map(len, text(Table((), [], after=("word " * 30,))).splitlines())) <= 40
