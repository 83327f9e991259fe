# SPDX-License-Identifier: GPL-2.0-only
"""Who allocated or freed pages: values of the keys of trace --outstanding and --alloc."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..model.gfp import GfpNames
from ..model.table import Absent, Cell, Column, Unit
from ..trace.records import ORDERS
from .frees import NOT_APPLICABLE

if TYPE_CHECKING:
    from ..trace.stacks import Stacks

Key = str | int | tuple[str, ...]
_NUMBERS = frozenset({"pid", "order"})
"""Keys whose values are numbers."""
_LEAST = 24
"""Characters of a function or of flags that are shown in one line, where there is room."""


@dataclass(frozen=True, slots=True)
class KeyNames:
    """What the values of keys are called."""

    stacks: "Stacks | None" = None
    migratetypes: Sequence[str] = ()
    """Names of migratetypes by number."""
    gfp: GfpNames = field(default_factory=GfpNames)

    def migratetype(self, number: int) -> str:
        """Return the name of a migratetype, or `bulk` of the number that stands in its place."""
        if number < 0:
            return "bulk"
        return self.migratetypes[number] if number < len(self.migratetypes) else str(number)


Keyed = tuple[npt.NDArray[Any], Sequence[Key]]
"""A number for each record, and the value of each number."""


def keys_of(
    orders: npt.NDArray[np.int64],
    records: npt.NDArray[np.void],
    callers: npt.NDArray[Any],
    by: Sequence[str],
    names: KeyNames,
) -> list[Keyed]:
    """Return the number of each record by each key of --by, and the value of each number.

    `records` have the fields stack, comm, pid, gfp and migratetype, as far as `by` needs them;
    `callers` are the numbers of the stacks that have the caller.
    """
    return [
        (orders, range(ORDERS))
        if what == "order"
        else _key(callers if what == "caller" else records[what], what, names)
        for what in by
    ]


def _key(values_of: npt.NDArray[Any], what: str, names: KeyNames) -> Keyed:
    distinct, number = np.unique(values_of, return_inverse=True)
    number = number.reshape(-1)
    values: list[Key] = distinct.tolist()
    if what == "comm":
        return number, [name.decode("utf-8", "replace") for name in distinct.tolist()]
    if what == "gfp":
        return number, [names.gfp.text(flags) for flags in distinct.tolist()]
    if what == "migratetype":
        return number, [names.migratetype(each) for each in distinct.tolist()]
    stacks = names.stacks
    if what == "stack":
        values = [stacks.frames(each) if stacks else () for each in distinct.tolist()]
    elif what == "caller":
        # Several stacks have one caller.
        callers = [stacks.caller(each) if stacks else "" for each in distinct.tolist()]
        known = {name: i for i, name in enumerate(dict.fromkeys(callers))}
        return np.array([known[name] for name in callers], np.int64)[number], list(known)
    return number, values


def stacks_of(by: Sequence[str], keys: Iterable[Sequence[Key | None]]) -> list[tuple[str, ...]]:
    """Return the stacks among the keys of rows, each once."""
    if "stack" not in by:
        return []
    at = by.index("stack")
    found = (key[at] for key in keys)
    return list(dict.fromkeys(stack for stack in found if isinstance(stack, tuple)))


def label_cells(label: str, by: Sequence[str], *, people: bool = False) -> list[Cell]:
    """Return the cells of the keys of --by in a row that has a label, such as a total.

    People see the label in the first column. Other formats have it in the first one that is not of
    numbers, and nowhere if there is none.
    """
    cells: list[Cell] = [Absent.NOT_APPLICABLE] * len(by)
    for i, what in enumerate(by):
        if people or what not in _NUMBERS:
            cells[i] = (label,) if what == "stack" else label
            break
    return cells


def key_column(what: str, stacks: Sequence[tuple[str, ...]], *, document: bool) -> Column:
    """Return the column of a key of --by; people see the place of a stack in `stacks`, from 1."""
    name = "key[]" if document else ""
    if what == "stack":
        numbers = {frames: str(i) for i, frames in enumerate(stacks, 1)}
        return Column(
            "stack",
            "list[string]",
            absent=NOT_APPLICABLE,
            separator=";",
            document=name,
            # The total has a word.
            show=lambda frames: numbers.get(frames) or "".join(frames),
        )
    if what in _NUMBERS:
        unit: Unit = "order" if what == "order" else ""
        # The total has a word in the first column.
        return Column(what, "int64", unit, absent=NOT_APPLICABLE, document=name)
    least = _LEAST if what in {"caller", "gfp"} else 0
    return Column(what, absent=NOT_APPLICABLE, document=name, least=least)
