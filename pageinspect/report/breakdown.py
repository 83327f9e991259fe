# SPDX-License-Identifier: GPL-2.0-only
"""Typed frees by the keys of --by and by stack."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..model.table import Column, Dtype, Row, Table
from ..units import printable
from .frees import FREES, NOT_APPLICABLE, ORDERS, PAGES, TYPE, Frees

if TYPE_CHECKING:
    from ..trace.records import Who
    from ..trace.stacks import Stacks


@dataclass(frozen=True, slots=True)
class WhoFrees:
    """Frees of one type with one combination of keys and one stack."""

    type_name: str
    key: tuple[str | int, ...]
    """The values of the keys of --by."""
    frames: tuple[str, ...]
    """The stack, innermost first; empty without --stacks."""
    frees: Frees

    @property
    def key_cells(self) -> tuple[str | int, ...]:
        """The values of the keys, with control characters escaped."""
        return tuple(printable(k) if isinstance(k, str) else k for k in self.key)


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Frees by key and stack, most pages first."""

    by: tuple[str, ...]
    stacks: bool
    """Whether frees are also broken down by stack."""
    rows: tuple[WhoFrees, ...]
    top: int | None = None
    """The maximum number of rows to show; None: all."""

    def shown(self) -> tuple[WhoFrees, ...]:
        """Return the rows to show."""
        return self.rows[: self.top]

    def left_out(self) -> Frees:
        """Return the sum of the rows that are not shown."""
        return sum((row.frees for row in self.rows[len(self.shown()) :]), Frees())

    def only(self, *, keys: bool) -> "Breakdown":
        """Return the same frees by keys only, or by stacks only."""
        cut = (
            WhoFrees(r.type_name, r.key if keys else (), () if keys else r.frames, r.frees)
            for r in self.rows
        )
        return Breakdown(self.by if keys else (), not keys, _summed(cut), self.top)

    def document(self) -> dict[str, Any]:
        """Return the fields of a JSON document: `rows` by key and `stacks`, if requested.

        With `top`, `more_rows` and `more_stacks` are the sums of the rows that are not shown.
        """
        found: dict[str, Any] = {}
        if self.by:
            by_key = self.only(keys=True)
            found["by"] = list(self.by)
            found["rows"] = by_key.table()
            found |= by_key.more_json("more_rows")
        if self.stacks:
            by_stack = self.only(keys=False)
            found["stacks"] = by_stack.table()
            found |= by_stack.more_json("more_stacks")
        return found

    def table(self) -> Table:
        """Return the shown rows of a breakdown by keys only or by stacks only."""
        if self.stacks:
            rows: list[Row] = [
                (printable(row.type_name), row.frees.frees, row.frees.pages, row.frames)
                for row in self.shown()
            ]
            return Table("stacks", (TYPE, FREES, PAGES, _FRAMES), rows)
        rows = [
            (
                *(printable(row.type_name), *row.key_cells),
                *(row.frees.frees, row.frees.pages, row.frees.orders),
            )
            for row in self.shown()
        ]
        keys = (key_column(what, document="key[]") for what in self.by)
        return Table("rows", (TYPE, *keys, FREES, PAGES, ORDERS), rows)

    def more_json(self, name: str) -> dict[str, Any]:
        """Return the JSON form of the sum of the rows that are not shown; empty without `top`."""
        if self.top is None:
            return {}
        count = len(self.rows) - len(self.shown())
        return {name: {"count": count, **self.left_out().to_json()}}


def _summed(rows: Iterable[WhoFrees]) -> tuple[WhoFrees, ...]:
    """Return the rows with the frees of equal keys added up, most pages first."""
    sums: dict[tuple[str, tuple[str | int, ...], tuple[str, ...]], Frees] = {}
    for row in rows:
        same = (row.type_name, row.key, row.frames)
        sums[same] = sums.get(same, Frees()) + row.frees
    found = [WhoFrees(*same, frees) for same, frees in sums.items()]
    return tuple(sorted(found, key=lambda row: (-row.frees.pages, row.type_name, str(row.key))))


@dataclass(frozen=True, slots=True)
class Naming:
    """Turns numbers of the tracer (kinds, zones, stacks) into names."""

    kind: Callable[[int], str]
    zones: Sequence[str]
    stacks: "Stacks | None" = None

    def key(self, who: "Who", what: str) -> str | int:
        """Return the value of one of the keys of --by."""
        if what == "zone":
            return self.zones[who.zone] if who.zone < len(self.zones) else str(who.zone)
        if what == "caller":
            return self.stacks.caller(who.stack) if self.stacks else ""
        value: str | int = getattr(who, what)
        return value

    def frames(self, who: "Who") -> tuple[str, ...]:
        """Return the frames of the stack, innermost first."""
        return self.stacks.frames(who.stack) if self.stacks else ()


def break_down(
    counted: Iterable[tuple["Who", int]],
    naming: Naming,
    by: tuple[str, ...],
    *,
    stacks: bool,
    top: int | None = None,
) -> Breakdown:
    """Return the Breakdown of counted frees, with names for numbers."""
    rows = (
        WhoFrees(
            naming.kind(who.kind),
            tuple(naming.key(who, what) for what in by),
            naming.frames(who) if stacks else (),
            Frees.single(who.order, frees),
        )
        for who, frees in counted
    )
    return Breakdown(by, stacks, _summed(rows), top)


_FRAMES = Column("frames", "list[string]", separator=";")
_NUMBERS = ("pid", "cpu", "order", "node")


def key_column(what: str, **fields: Any) -> Column:
    """Return the column of one of the keys of --by."""
    dtype: Dtype = "int64" if what in _NUMBERS else "string"
    return Column(what, dtype, "order" if what == "order" else "", **fields)


def key_columns(breakdown: Breakdown) -> tuple[Column, ...]:
    """Return the columns of the keys; for people a stack is a number, listed below the table."""
    columns = tuple(key_column(what, absent=NOT_APPLICABLE) for what in breakdown.by)
    if not breakdown.stacks:
        return columns
    numbers = _numbers(breakdown)
    stack = replace(
        _FRAMES, name="stack", key="frames", absent=NOT_APPLICABLE, show=numbers.__getitem__
    )
    return (*columns, stack)


def _numbers(breakdown: Breakdown) -> dict[tuple[str, ...], str]:
    """Return the number of each shown stack."""
    return numbered(row.frames for row in breakdown.shown())


def stack_lines(breakdown: Breakdown) -> list[str]:
    """Return lines with the frames of each shown stack, under its number."""
    return numbered_lines(_numbers(breakdown))


def numbered(stacks: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    """Return a number for each distinct stack, by its first place."""
    return {stack: str(i) for i, stack in enumerate(dict.fromkeys(stacks), 1)}


def numbered_lines(numbers: Mapping[tuple[str, ...], str]) -> list[str]:
    """Return lines with the frames of stacks, under their numbers."""
    lines = []
    for stack, i in numbers.items():
        lines += ["", f"Stack {i}:", *(f"    {frame}" for frame in stack)]
    return lines
