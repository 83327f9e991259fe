# SPDX-License-Identifier: GPL-2.0-only
"""Columns of a report for libraries: each of the type that its column declares."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from pageinspect.model.table import Absent, Column, Row, Table
from pageinspect.report.frames import frame_columns

NONE = Absent.UNREADABLE


def columns_of(rows: Sequence[Row], *columns: Column) -> list[tuple[Any, ...]]:
    table = Table("made", columns, iter(rows))
    report: Any = SimpleNamespace(tables=lambda: (table,))
    return [(column.key, column.dtype, column.values) for column in frame_columns(report)]


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        ((1, NONE, -3), "int64", (1, None, -3)),
        ((1, 1 << 63), "uint64", (1, 1 << 63)),
        ((1, 0.5), "float64", (1, 0.5)),
        ((True, NONE), "bool", (True, None)),
        (("a", NONE), "string", ("a", None)),
        ((NONE, NONE), "int64", (None, None)),
        ((("a", "b"), ()), "list[string]", (("a", "b"), ())),
    ],
)
def test_the_type_is_that_of_the_column(
    values: tuple[Any, ...], dtype: Any, expected: tuple[Any, ...]
) -> None:
    column = Column("x", dtype, absent=(NONE,))
    assert columns_of([[value] for value in values], column) == [("x", dtype, expected)]


def test_what_has_parts_is_text() -> None:
    column = Column("split", "map[string,int64]")
    assert columns_of([[{"slab": 1, "table": 2}]], column) == [
        ("split", "string", ("slab:1 table:2",))
    ]


def test_a_table_without_rows_has_its_columns() -> None:
    assert columns_of([], Column("size", "uint64", key="bytes"), Column("name")) == [
        ("bytes", "uint64", ()),
        ("name", "string", ()),
    ]


def test_several_tables_are_one() -> None:
    tables = (
        Table("rules", (Column("name"),), [("a",)]),
        Table("pages", (Column("pfn", "int64"),), [(5,)]),
    )
    report: Any = SimpleNamespace(tables=lambda: tables)
    assert [(column.key, column.values) for column in frame_columns(report)] == [
        ("table", ("rules", "pages")),
        ("name", ("a", None)),
        ("pfn", (None, 5)),
    ]
