# SPDX-License-Identifier: GPL-2.0-only
"""What a map of memory shows: cells with their looks, zones, and a legend with counts."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import PageInspectError, UsageError
from ..model.arch import GIGANTIC_ORDER, PAGE_SHIFT
from ..model.ranges import Range
from ..model.saved_kernel import SavedKernel
from ..model.snapshot import Snapshot
from ..units import counted, number, percent, printable, size
from .cells import CodedRuns, cells_of
from .classes import FREE, OTHER, Classified, ColourClass, classified
from .colours import EMPTY, looks_of
from .layouts import Layout, default_shift, hilbert_of, rows_of

_NAMES = 3
"""Names of a class with several that the legend has."""


class Room(NamedTuple):
    """How many cells there is room for."""

    columns: int
    rows: int


@dataclass(frozen=True, slots=True)
class MapChoice:
    """What a map is to show."""

    by: str = "use"
    """One of classes.BY."""
    wanted: tuple[Range, ...] | None = None
    """Sorted disjoint pfns; None is all."""
    shift: int | None = None
    """log2 of the pages of a cell; None is one that fits."""
    hilbert: bool = False
    room: Room | None = None
    """Of a terminal, in which rows have this many columns; None for an image."""


@dataclass(frozen=True, slots=True, eq=False)
class Panel:
    """One picture of memory; a map of a change has one for each moment."""

    heading: str
    """Untrusted text; empty for a single one."""
    looks: npt.NDArray[np.uint8]
    """The look of each cell where it is drawn, (rows, columns)."""


@dataclass(frozen=True, slots=True)
class ZoneSpan:
    """A zone that the map shows."""

    name: str
    """With the number of the node, if there are several."""
    start: int
    end: int
    """Exclusive."""


@dataclass(frozen=True, slots=True)
class LegendLine:
    """A class in the table of counts."""

    look: int | None
    """None for the sum."""
    cells: tuple[str, ...]
    """The texts of the columns of MapPicture.legend_columns."""


@dataclass(frozen=True, slots=True, eq=False)
class MapPicture:
    """A map of memory. Texts are printable."""

    title: str
    facts: tuple[str, ...]
    """Lines below the title: kernel, time, scale."""
    layout: Layout
    panels: tuple[Panel, ...]
    zones: tuple[ZoneSpan, ...]
    block_pages: int | None
    """Pages of a memory block; None if it is not known."""
    legend_columns: tuple[str, ...]
    legend: tuple[LegendLine, ...]
    notes: tuple[str, ...]
    """Sentences on how to read it."""
    ordered: bool
    """Whether the classes have an order."""
    has_pale: bool
    """Whether a cell has a pale colour."""


def map_of(
    snapshots: Sequence[Snapshot], sources: Sequence[str], choice: MapChoice, most: int
) -> MapPicture:
    """Return the map of a snapshot, or of the change from the first of two to the second.

    `sources` are what the user calls them. Raises UsageError for more than `most` cells, and
    PageInspectError for memory without pages.
    """
    found = classified(snapshots, choice.by, choice.wanted)
    if not any(len(runs) for runs in found.runs):
        raise PageInspectError("no page of these pfns is known", "choose other pfns, or none")
    layout = _layout([runs for runs in found.runs if len(runs)], choice, most)
    looks = _looks(found, layout)
    kernels = [SavedKernel.from_json(snapshot.header("kernel")) for snapshot in snapshots]
    changes, block = len(snapshots) > 1, kernels[-1].memory_block_pages
    headings = [_moment(s, source) for s, source in zip(snapshots, sources, strict=True)]
    has_pale = any(bool(np.isin(each, _pale_looks()).any()) for each in looks)
    return MapPicture(
        title=_title(snapshots, choice.by),
        facts=_facts(snapshots, headings, kernels, found, layout),
        layout=layout,
        panels=tuple(
            Panel(heading if changes else "", layout.picture(each))
            for heading, each in zip(headings, looks, strict=True)
        ),
        zones=_zones(kernels[-1]),
        block_pages=block,
        legend_columns=_columns(choice.by, changes=changes),
        legend=tuple(_legend(found, looks)),
        notes=tuple(_notes(layout, block, changes=changes, has_pale=has_pale)),
        ordered=found.is_ordered,
        has_pale=has_pale,
    )


def _pale_looks() -> range:
    return range(EMPTY // 2, EMPTY)


def _layout(runs: Sequence[CodedRuns], choice: MapChoice, most: int) -> Layout:
    pages = max(int(each.lengths.sum()) for each in runs)
    if choice.room is not None:
        return _layout_in(choice.room, runs, pages, choice, most)
    shift = default_shift(pages) if choice.shift is None else choice.shift
    return (hilbert_of if choice.hilbert else rows_of)(runs, shift, most)


def _layout_in(
    room: Room, runs: Sequence[CodedRuns], pages: int, choice: MapChoice, most: int
) -> Layout:
    """Return a layout with cells that fit into a terminal, or those that were asked for."""
    fits = (max(pages, 1) - 1) // (room.columns * room.rows)
    for shift in range(fits.bit_length(), GIGANTIC_ORDER + 1):
        asked = shift if choice.shift is None else choice.shift
        if choice.hilbert:
            layout = hilbert_of(runs, asked, most)
        else:
            layout = rows_of(runs, asked, most, room.columns)
        if layout.columns <= room.columns and layout.rows <= room.rows:
            return layout
        if choice.shift is not None and not choice.hilbert:
            return layout
        if choice.shift is not None and layout.columns > room.columns:
            raise UsageError(
                "the curve is wider than the terminal", "omit --cell, or write an image: -o FILE"
            )
    return layout


def _looks(found: Classified, layout: Layout) -> list[npt.NDArray[np.uint8]]:
    """Return the look of each cell of each side, in the order of pfns."""
    changed = None
    if found.changed is not None:
        changed = cells_of(found.changed, layout.windows, layout.shift).pages > 0
    cells = (cells_of(runs, layout.windows, layout.shift) for runs in found.runs)
    return [looks_of(each, changed) for each in cells]


def _title(snapshots: Sequence[Snapshot], by: str) -> str:
    host = printable(snapshots[-1].host)
    of = f" of {host}" if host else ""
    what = "Change of memory" if len(snapshots) > 1 else "Memory"
    return f"{what}{of} by {by}"


def _moment(snapshot: Snapshot, source: str) -> str:
    taken = snapshot.header("taken") / 1e6
    try:
        when = datetime.fromtimestamp(taken, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        when = "unknown time"
    return printable(f"{source}, {when}" if source else when)


def _facts(
    snapshots: Sequence[Snapshot],
    headings: Sequence[str],
    kernels: Sequence[SavedKernel],
    found: Classified,
    layout: Layout,
) -> tuple[str, ...]:
    described = dict.fromkeys(printable(kernel.provenance.describe()) for kernel in kernels)
    pages = int(found.runs[-1].lengths.sum())
    scale = f"{counted(pages, 'page')}, {_bytes(pages)}; a cell is {_bytes(layout.cell_pages)}"
    if layout.is_curve:
        scale += f", the side of a square {counted(layout.side, 'cell')}"
    else:
        scale += f", a row {_bytes(layout.columns * layout.cell_pages)}"
    when = headings if len(snapshots) == 1 else ()
    return (*described, *when, scale)


def _bytes(pages: int) -> str:
    return size(pages << PAGE_SHIFT)


def _zones(kernel: SavedKernel) -> tuple[ZoneSpan, ...]:
    several = len({zone.node for zone in kernel.zones}) > 1
    return tuple(
        ZoneSpan(printable(f"{z.node}/{z.name}" if several else z.name), z.start, z.end)
        for z in sorted(kernel.zones, key=lambda z: (z.start, z.end))
    )


def _columns(by: str, *, changes: bool) -> tuple[str, ...]:
    if changes:
        return (by, "before", "after", "change")
    return (by, "pages", "%", "size")


def _legend(found: Classified, looks: Sequence[npt.NDArray[np.uint8]]) -> list[LegendLine]:
    total = sum(each.pages[-1] for each in found.classes)
    changes = len(found.runs) > 1
    lines = [
        LegendLine(each.code, (_name(each), *_amounts(each.pages, total, changes=changes)))
        for each in found.classes
    ]
    every = tuple(sum(each.pages[i] for each in found.classes) for i in range(len(found.runs)))
    lines.append(LegendLine(None, ("all", *_amounts(every, total, changes=changes))))
    if any(bool((each == EMPTY).any()) for each in looks):
        lines.append(LegendLine(EMPTY, ("no struct page", "", "", "")))
    return lines


def _amounts(pages: tuple[int, ...], total: int, *, changes: bool) -> tuple[str, ...]:
    if changes:
        return (*map(number, pages), f"{pages[-1] - pages[0]:+,}")
    return (number(pages[0]), percent(100 * pages[0] / max(total, 1)), _bytes(pages[0]))


def _name(each: ColourClass) -> str:
    text = ", ".join(map(printable, each.names[:_NAMES]))
    if len(each.names) > _NAMES:
        text += f" and {len(each.names) - _NAMES} more"
    if each.code == FREE and each.names != ("free",):
        return f"free: {text}"
    return f"other: {text}" if each.code == OTHER else text


def _notes(layout: Layout, block: int | None, *, changes: bool, has_pale: bool) -> list[str]:
    notes = []
    if layout.shift and has_pale and not changes:
        notes.append(
            "A cell has the colour of most of its pages: full if they are at least 90 % of it, "
            "pale if not."
        )
    if changes:
        notes.append("Full: at least one page of the cell changed. Pale: none did.")
    if block is not None and (layout.blocks_in_rows(block) or layout.rows_in_blocks(block)):
        edge = "upper" if layout.blocks_in_rows(block) else "left"
        notes.append(f"Small marks at the {edge} edge: memory blocks of {_bytes(block)}.")
    if layout.is_curve:
        notes.append("Neighbours on the curve are neighbours in memory.")
    return notes
