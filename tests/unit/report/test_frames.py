"""Columns of the table for machines, each of one type."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from pageinspect.model.table import Cell, Column, Table
from pageinspect.report.frames import frame_columns


def columns_of(rows: Sequence[Sequence[Cell]], *columns: Column) -> list[tuple[Any, ...]]:
    report: Any = SimpleNamespace(to_table=lambda: Table(columns, iter(rows)))
    return [(column.key, column.kind, column.values) for column in frame_columns(report)]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ((1, None, -3), "int64", (1, None, -3)),
        ((1, 1 << 63), "uint64", (1, 1 << 63)),
        ((1, 0.5), "float64", (1, 0.5)),
        ((True, None), "bool", (True, None)),
        (("a", None), "string", ("a", None)),
        ((None, None), "null", (None, None)),
        (("a", 1, True, None), "string", ("a", "1", "true", None)),
    ],
)
def test_the_kind_is_that_of_the_values(
    values: tuple[Cell, ...], kind: str, expected: tuple[Cell, ...]
) -> None:
    assert columns_of([[value] for value in values], Column("x")) == [("x", kind, expected)]


def test_a_table_without_rows_has_its_columns() -> None:
    assert columns_of([], Column("size", key="bytes"), Column("pages")) == [
        ("bytes", "null", ()),
        ("pages", "null", ()),
    ]


def test_machines_get_the_table_for_machines() -> None:
    machines = Table((Column("pfn"),), [(5,)])
    report: Any = SimpleNamespace(
        to_table=lambda: Table((Column("field"),), [("text",)], machines=machines)
    )
    (column,) = frame_columns(report)
    assert (column.key, column.values) == ("pfn", (5,))
