# SPDX-License-Identifier: GPL-2.0-only
"""Places a map along a Hilbert curve: borders of zones and memory blocks, and pfns at its edges."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ..model.arch import PAGE_SHIFT
from ..units import size
from .drawing import (
    BETWEEN,
    LINE,
    MARGIN,
    SMALL,
    Anchor,
    Box,
    Scene,
    Tiles,
    add_headings,
    cell_width,
    text_width,
)
from .layouts import Layout
from .maps import MapPicture, ZoneSpan

_HIGH = 768
_GAP = 8
"""Pixels between a label and the cells."""
_HALO = 8
"""Side of cells from which on borders of zones have an edge in the colour of the background."""
_LEAST_BLOCK = 1024
"""Pixels in the area of memory blocks that have borders."""
_PARTS = 8
"""Labels at an edge, at most."""
_KEY = (84, 20)
"""Width and height of the squares of the key, which has 4 by 4 for each square of the curve."""
_MOST_NAMES = 40
"""Zones in the list beside the curve."""

Grid = npt.NDArray[np.int64]


def add_curve(scene: Scene, picture: MapPicture, y: int) -> tuple[int, int]:
    """Add panels with a Hilbert curve, and a key with pfns; return the right and lower edge."""
    layout = picture.layout
    side = max(1, min(cell_width(picture), _HIGH // layout.rows))
    across, down = layout.columns * side, layout.rows * side
    sides = _left_labels(picture, side)
    left = MARGIN + max((text_width(text, SMALL) for _, text in sides), default=0) + _GAP
    top = add_headings(scene, picture, left, y, across) + LINE
    for at, text in sides:
        scene.text(left - _GAP, top + at, text, anchor="end")
    grids = _block_ids(picture, side), _zone_ids(picture)
    for panel in picture.panels:
        frame = Box(left - 1, top - 1, across + 2, down + 2, scene.theme.free, outlined=True)
        scene.boxes.append(frame)
        scene.tiles.append(Tiles(left, top, side, side, side, panel.looks))
        _top_labels(scene, layout, left, top, side)
        _borders(scene, grids, left, top, side)
        left += across + BETWEEN
    right, bottom = _key(scene, layout, left, top + 12)
    width, bottom = _names(scene, picture, left, bottom, has_blocks=grids[0] is not None)
    return max(right, left + width), max(top + down, bottom)


def pfns_of(layout: Layout) -> Grid:
    """Return the first pfn of each cell of a curve where it is drawn, (rows, columns)."""
    ((start, end),) = layout.windows
    return layout.picture(np.arange(start, end, layout.cell_pages))


def _zone_of(zones: Sequence[ZoneSpan], pfn: int) -> str:
    return next((zone.name for zone in zones if zone.start <= pfn < zone.end), "")


def _left_labels(picture: MapPicture, side: int) -> list[tuple[int, str]]:
    """Return the baseline, and the first pfn, of some rows; with the zone where it is another."""
    layout, found, before = picture.layout, [], ""
    first = pfns_of(layout)[:, 0].tolist()
    for row in _some(layout.rows, side, LINE):
        zone = _zone_of(picture.zones, first[row])
        text = f"{first[row]:#x}" if zone in ("", before) else f"{zone} {first[row]:#x}"
        before = zone
        found.append((row * side + min(side // 2 + 4, 12), text))
    return found


def _some(cells: int, side: int, least: int) -> range:
    """Return cells at an edge that are at least this many pixels from one another."""
    n = min(_PARTS, cells)
    while n > 1 and cells // n * side < least:
        n //= 2
    return range(0, n * (cells // n), cells // n)


def _top_labels(scene: Scene, layout: Layout, left: int, top: int, side: int) -> None:
    first = pfns_of(layout)[0].tolist()
    least = text_width(f"{max(first):#x}", SMALL) + 2 * _GAP
    for column in _some(layout.columns, side, least):
        x = left + column * side
        anchor: Anchor = "middle" if column else "start"
        at = x + side // 2 if column else x
        scene.boxes.append(Box(x + side // 2, top - 5, 1, 4, scene.theme.faint))
        scene.text(at, top - _GAP, f"{first[column]:#x}", faint=True, anchor=anchor)


def _zone_ids(picture: MapPicture) -> Grid:
    """Return the number of the zone of each cell where it is drawn; -1 for none."""
    layout = picture.layout
    ((start, end),) = layout.windows
    pages = layout.cell_pages
    ids = np.full((end - start) // pages, -1, np.int64)
    for i, zone in enumerate(picture.zones):
        low, high = (max(-(-(pfn - start) // pages), 0) for pfn in (zone.start, zone.end))
        # The first cell is of the zone of most of it.
        low -= low > 0 and zone.start - start < (low << layout.shift) - pages // 2
        ids[low:high] = i
    return layout.picture(ids)


def _block_ids(picture: MapPicture, side: int) -> Grid | None:
    """Return the number of the memory block of each cell; None if borders would be too close."""
    block, layout = picture.block_pages, picture.layout
    if block is None or (block >> layout.shift) * side * side < _LEAST_BLOCK:
        return None
    return pfns_of(layout) // block


def _borders(scene: Scene, grids: tuple[Grid | None, Grid], left: int, top: int, side: int) -> None:
    """Add lines between memory blocks, and over them those between zones."""
    blocks, zones = grids
    background, ink = scene.theme.background, scene.theme.ink
    edges = [*_edges(zones)]
    widths = [(edges, 3, background)] if side >= _HALO else []
    if blocks is not None:
        widths.insert(0, ([*_edges(blocks)], 1, background))
    for lines, width, colour in (*widths, (edges, 1, ink)):
        for x, y, columns, rows in lines:
            box = Box(
                left + x * side - (0 if columns else width // 2),
                top + y * side - (0 if rows else width // 2),
                columns * side or width,
                rows * side or width,
                colour,
            )
            scene.borders.append(box)


def _edges(grid: Grid) -> Iterator[tuple[int, int, int, int]]:
    """Yield lines between cells that differ: column, row, and columns or rows, of which one is 0.

    Lines are as long as they can be.
    """
    for across in (False, True):
        cells = grid.T if across else grid
        differ = np.zeros((cells.shape[1] - 1, cells.shape[0] + 2), np.int8)
        differ[:, 1:-1] = (cells[:, 1:] != cells[:, :-1]).T
        steps = np.diff(differ, axis=1)
        (at, first), (_, last) = (np.nonzero(steps == step) for step in (1, -1))
        for line, begin, end in zip(at.tolist(), first.tolist(), last.tolist(), strict=True):
            n = end - begin
            yield (begin, line + 1, n, 0) if across else (line + 1, begin, 0, n)


def _key(scene: Scene, layout: Layout, left: int, top: int) -> tuple[int, int]:
    """Add a small picture of the curve with the first pfn of each part."""
    scene.text(left, top, "First pfn of each part of the picture:", faint=True)
    top += 8
    parts = min(4, layout.rows)
    step = layout.rows // parts
    part_pages = (step * step) << layout.shift
    width, height = _KEY
    ((start, end),) = layout.windows
    for pfn in range(start, end, part_pages):
        place = layout.place(pfn)
        if place is None:
            continue
        row, column = (each // step for each in place)
        x, y = left + column * width, top + row * height
        scene.boxes.append(Box(x, y, width + 1, height + 1, scene.theme.faint, outlined=True))
        scene.text(x + width // 2, y + 15, f"{pfn:#x}", anchor="middle")
    across = layout.columns // step * width
    return left + max(across, 240), top + parts * height + 8


def _names(
    scene: Scene, picture: MapPicture, left: int, y: int, *, has_blocks: bool
) -> tuple[int, int]:
    """Add what lines are the borders of; return the width and the lower edge."""
    zones = picture.zones
    lines = [f"{zone.name} {zone.start:#x}-{zone.end:#x}" for zone in zones[:_MOST_NAMES]]
    if zones:
        lines.insert(0, "Lines: borders of zones")
    if len(zones) > _MOST_NAMES:
        lines.append(f"and {len(zones) - _MOST_NAMES} more")
    if has_blocks and picture.block_pages is not None:
        blocks = size(picture.block_pages << PAGE_SHIFT)
        lines.append(f"Thin gaps: borders of memory blocks of {blocks}")
    for i, text in enumerate(lines):
        y += 18
        scene.text(left, y, text, faint=bool(zones) and not i)
    return max((text_width(text, SMALL) for text in lines), default=0), y
