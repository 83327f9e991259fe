# SPDX-License-Identifier: GPL-2.0-only
"""What a map of memory shows: cells with their looks, zones, and a legend with counts."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import PageInspectError, UsageError
from ..model.arch import GIGANTIC_ORDER, PAGE_SHIFT
from ..model.ranges import Range, count
from ..model.saved_kernel import SavedKernel
from ..model.snapshot import Snapshot
from ..units import counted, number, percent, printable, size
from .cells import CodedRuns, cells_of
from .classes import CODES, FREE, HATCHED, IN_USE, OTHER, Classified, ColourClass, classified
from .colours import EMPTY, looks_of
from .layouts import Layout, default_shift, hilbert_of, rows_of

_NAMES = 3
"""Names of other and of free pages that the legend has."""
_LINES = 4
"""Lines of the legend for the names of one colour."""


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
    changes: bool
    """Whether it is of the change between two moments."""
    steps: tuple[int, ...]
    """The steps of colours.looks_of() that cells have."""


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
    drawn = np.unique(np.concatenate(looks))
    steps = tuple(np.unique(drawn[drawn != EMPTY] // CODES).tolist())
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
        legend=tuple(_legend(found, layout, choice)),
        notes=tuple(_notes(found, layout, block)),
        ordered=found.is_ordered,
        changes=changes,
        steps=steps,
    )


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
        changed = cells_of(found.changed, layout.windows, layout.shift).shares
    cells = (cells_of(runs, layout.windows, layout.shift) for runs in found.runs)
    return [looks_of(each, changed) for each in cells]


def _title(snapshots: Sequence[Snapshot], by: str) -> str:
    host = printable(snapshots[-1].host)
    of = f" of {host}" if host else ""
    what, key = ("Free memory", "order") if by == "free" else ("Memory", by)
    if len(snapshots) > 1:
        what = f"Change of {what.lower()}"
    return f"{what}{of} by {key}"


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


def _legend(found: Classified, layout: Layout, choice: MapChoice) -> list[LegendLine]:
    totals = [int(runs.lengths.sum()) for runs in found.runs]

    def line(look: int | None, name: str, pages: Sequence[int]) -> LegendLine:
        return LegendLine(look, (name, *_amounts(pages, totals)))

    lines = [line(each.code, *named) for each in found.classes for named in _named(each)]
    lines.append(line(None, "all", totals))
    left = [count(layout.windows) - total for total in totals]
    if any(left):
        name = "no struct page" if choice.wanted is None else "not chosen, or no struct page"
        amounts = _amounts(left, totals)
        # It is not a part of the sum.
        lines.append(
            LegendLine(EMPTY, (name, *(amounts if found.changed else (amounts[0], "", amounts[2]))))
        )
    return lines


def _named(each: ColourClass) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the names of a class that lines of the legend have, and their pages."""
    if each.code in (FREE, OTHER):
        yield _name(each), each.pages
        return
    shown = len(each.names) if len(each.names) <= _LINES else _LINES - 1
    yield from zip(map(printable, each.names[:shown]), each.each, strict=False)
    rest = each.each[shown:]
    if rest:
        names = map(printable, each.names[shown : shown + _NAMES])
        yield _some(names, len(rest)), tuple(map(sum, zip(*rest, strict=True)))


def _amounts(pages: Sequence[int], totals: Sequence[int]) -> tuple[str, ...]:
    if len(pages) > 1:
        return (*map(number, pages), f"{pages[-1] - pages[0]:+,}")
    return (number(pages[0]), percent(100 * pages[0] / max(totals[0], 1)), _bytes(pages[0]))


def _some(names: Iterable[str], n: int) -> str:
    """Return the first of `n` names."""
    shown = [*islice(names, _NAMES)]
    text = ", ".join(shown)
    return text if n == len(shown) else f"{text} and {n - len(shown)} more"


def _name(each: ColourClass) -> str:
    text = _some(map(printable, each.names), len(each.names))
    if each.code == FREE and each.names != ("free",):
        return f"free: {text}"
    return f"other: {text}" if each.code == OTHER and each.names != (IN_USE,) else text


def _notes(found: Classified, layout: Layout, block: int | None) -> list[str]:
    """Return sentences on what is drawn; those on steps depend on the size of cells."""
    notes = []
    own = [each for each in found.classes if each.code not in (FREE, OTHER)]
    if any(len(each.names) > 1 or each.code >= HATCHED for each in own):
        notes.append("Names of one family have one colour, the same in every map.")
    if block is not None and (layout.blocks_in_rows(block) or layout.rows_in_blocks(block)):
        edge = "upper" if layout.blocks_in_rows(block) else "left"
        notes.append(f"Small marks at the {edge} edge: memory blocks of {_bytes(block)}.")
    if layout.is_curve:
        notes.append("Neighbours on the curve are neighbours in memory.")
    return notes


def sentence_on_steps(*, changes: bool, parts: bool) -> str:
    """Return how to read the looks of cells: with `parts`, a part of a cell is pale."""
    if changes:
        if parts:
            return (
                "A cell has a full colour as far as its pages changed: whole if half of them or "
                "more, two thirds from 10 % on, one third if fewer; pale if none did."
            )
        return "Full: at least 10 % of the cell's pages changed. Pale: fewer, or none."
    what = "A cell has the colour of most of its pages: full if they are at least 90 % of it, "
    if parts:
        return f"{what}two thirds of it if at least half, one third if fewer; the rest is pale."
    return f"{what}pale if not."
