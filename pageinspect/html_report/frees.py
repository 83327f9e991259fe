# SPDX-License-Identifier: GPL-2.0-only
"""Typed frees, from the JSON document of `trace`: a file of the user, which may be damaged."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..model.table import Column, Table
from ..report.trace_file import of_trace
from ..units import counted, seconds
from .names import shown_name
from .sections import STACK, Section, table_of

_MOST_FRAMES = 12
_TYPES = (
    Column("type"),
    Column("frees", "int64", "count"),
    Column("pages", "int64", "pages"),
    Column("typed free"),
)
_STACKS = (
    Column("type"),
    Column("frees", "int64", "count"),
    Column("pages", "int64", "pages"),
    Column("stack, innermost first", key=STACK),
)


def read_frees(path: Path) -> Section:
    """Return the frees of a file that `trace --format json` wrote; raises PageInspectError."""
    return of_trace(path, _section)


def _section(document: Any) -> Section:
    typed = [(t["type"], int(t["frees"]), int(t["pages"]), _verdict(t)) for t in document["typed"]]
    untyped = document["untyped"]
    typed.append(("untyped", int(untyped["frees"]), int(untyped["pages"]), ""))
    tables = [table_of("By type", Table("typed", _TYPES, _texts(typed)))]
    if document.get("rows"):
        by = [str(key) for key in document["by"]]
        columns = (*_TYPES[:1], *map(Column, by), *_TYPES[1:3])
        rows = (
            (r["type"], *_keys(r["key"], len(by)), int(r["frees"]), int(r["pages"]))
            for r in document["rows"]
        )
        tables.append(table_of(f"By {', '.join(by)}", Table("rows", columns, _texts(rows))))
    if document.get("stacks"):
        stacks = (
            (s["type"], int(s["frees"]), int(s["pages"]), _stack(s["frames"]))
            for s in document["stacks"]
        )
        tables.append(table_of("By stack", Table("stacks", _STACKS, _texts(stacks))))
    kernel, lost = document["kernel"], int(document["lost"])
    intro = (
        f"Pages freed on Linux {shown_name(str(kernel['release']))} in "
        f"{seconds(int(document['duration_ns']))}, with a page type still set."
    )
    texts = (f"{counted(lost, 'event', 'were')} lost, and are in no count.",) if lost else ()
    return Section(tuple(tables), texts, intro=intro)


def _verdict(typed: Any) -> str:
    if not typed["frees"]:
        return ""
    return "expected" if typed["expected"] else "UNEXPECTED"


def _keys(key: Any, n: int) -> list[str]:
    texts = [str(value) for value in key]
    if len(texts) != n:
        raise ValueError
    return texts


def _stack(frames: Any) -> str:
    shown = [str(frame) for frame in frames[:_MOST_FRAMES]]
    return " ← ".join([*shown, *(["…"] if len(frames) > _MOST_FRAMES else [])])


def _texts(rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return rows whose cells are numbers or text."""
    return [tuple(cell if isinstance(cell, int) else str(cell) for cell in row) for row in rows]
