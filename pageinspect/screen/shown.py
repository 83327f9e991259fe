# SPDX-License-Identifier: GPL-2.0-only
"""A table of a report as columns of the screen."""

from typing import Any

from ..model.table import Absent, Column, Table
from ..units import printable
from .reading import ScreenColumn


def columns_of(
    table: Table, keys: tuple[str, ...], hidden: tuple[str, ...]
) -> tuple[ScreenColumn, ...]:
    """Return the columns of a table for people; rows of sums, which have no name, are left out."""
    places = [i for i, column in enumerate(table.columns) if column.key in keys]
    rows = [row for row in table.rows if any(_is_name(row[i]) for i in places)]
    return tuple(
        _column(column, [row[i] for row in rows], keys, hidden)
        for i, column in enumerate(table.columns)
        if not column.machines
    )


def _is_name(cell: Any) -> bool:
    return not isinstance(cell, Absent)


def _column(
    column: Column, cells: list[Any], keys: tuple[str, ...], hidden: tuple[str, ...]
) -> ScreenColumn:
    show = column.for_people()
    return ScreenColumn(
        column.name,
        [printable(show(cell)) for cell in cells],
        [None if isinstance(cell, Absent) else cell for cell in cells]
        if column.is_number
        else None,
        column.key in keys,
        column.spare,
        column.key in hidden,
    )
