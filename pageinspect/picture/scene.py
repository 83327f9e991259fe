# SPDX-License-Identifier: GPL-2.0-only
"""Places the parts of a map of memory: boxes, texts and tiles, in pixels."""

from collections.abc import Sequence

import numpy as np

from ..model.arch import PAGE_SHIFT
from ..units import size, wrapped
from .classes import CODES, family_of
from .colours import Theme
from .curve_scene import add_curve
from .drawing import (
    BETWEEN,
    LINE,
    MARGIN,
    SMALL,
    TEXT,
    Anchor,
    Box,
    Caption,
    Scene,
    Tiles,
    add_headings,
    cell_width,
    has_parts,
    text_width,
)
from .layouts import COLUMNS, Layout
from .maps import MapPicture, Panel, sentence_on_steps

_HIGH = 720
_TALLEST, _TALL = 28, 16
"""Height of cells in rows of many and of few."""
_LEFT = 164
"""Width of the labels of rows."""
_LANE = 10
_BREAK = 18
"""Height between rows where pfns are left out."""
_MOST_BREAKS = 24
_TITLE = 20
_TICKS = (80, 8)
"""Least pixels between labels at the upper edge, and how many there are at most."""
_LEGEND = (360, 480, 560, 680)
"""Where the columns of the legend end, from its left."""
_UNIT = 1024


def scene_of(picture: MapPicture, theme: Theme) -> Scene:
    """Place the parts of a map."""
    scene = Scene(
        picture.title,
        "; ".join((*picture.facts, *(" ".join(line.cells) for line in picture.legend))),
        theme,
        theme.of_tones(ordered=picture.ordered, changes=picture.changes),
        picture.changes,
    )
    y = MARGIN + _TITLE
    scene.line(y, picture.title, _TITLE)
    for fact in picture.facts:
        y += LINE
        scene.line(y, fact, faint=True)
    y += LINE
    right, bottom = (add_curve if picture.layout.is_curve else _rows)(scene, picture, y)
    right = max(right, MARGIN + _LEGEND[-1])
    bottom = _legend(scene, picture, bottom + 16, right)
    widest = max(_width(caption) for caption in scene.captions)
    scene.width, scene.height = max(right, widest) + MARGIN, bottom + MARGIN
    return scene


def _width(caption: Caption) -> int:
    """Return about where a text ends."""
    return caption.x + (text_width(caption.text, caption.size) if caption.anchor == "start" else 0)


def _rows(scene: Scene, picture: MapPicture, y: int) -> tuple[int, int]:
    """Add panels of rows; return the right and lower edge."""
    layout, panels = picture.layout, picture.panels
    width = cell_width(picture)
    tallest = _TALLEST if layout.columns >= COLUMNS else _TALL
    height = max(1, min(tallest, _HIGH // layout.rows))
    pitch = height + (max(4, height // 5) if height >= 8 else 0)
    left = MARGIN + _LEFT
    y = add_headings(scene, picture, left, y, layout.columns * width) + 2 * LINE
    tops = _tops(layout, y, pitch)
    for panel in panels:
        _panel(scene, picture, panel, left, tops, (width, height, pitch))
        left += layout.columns * width + BETWEEN
    _row_labels(scene, picture, tops, height)
    right = left - BETWEEN
    right = _zones(scene, picture, right, tops, height)
    return right, tops[-1] + pitch


def _tops(layout: Layout, y: int, pitch: int) -> list[int]:
    """Return the upper edge of each row; there is room where pfns are left out."""
    breaks = len(layout.windows) <= _MOST_BREAKS
    tops: list[int] = []
    for start, end in layout.windows:
        if tops and breaks:
            y += _BREAK
        for _ in range((end - start) // layout.row_pages):
            tops.append(y)
            y += pitch
    return tops


def _panel(
    scene: Scene,
    picture: MapPicture,
    panel: Panel,
    left: int,
    tops: Sequence[int],
    cell: tuple[int, int, int],
) -> None:
    layout, (width, height, pitch) = picture.layout, cell
    across = layout.columns * width
    row = 0
    for start, end in layout.windows:
        rows = (end - start) // layout.row_pages
        looks = panel.looks[row : row + rows]
        if pitch > height:
            for top in tops[row : row + rows]:
                frame = Box(
                    left - 1, top - 1, across + 2, height + 2, scene.theme.free, outlined=True
                )
                scene.boxes.append(frame)
        else:
            frame = Box(
                left - 1,
                tops[row] - 1,
                across + 2,
                rows * pitch + 2,
                scene.theme.free,
                outlined=True,
            )
            scene.boxes.append(frame)
        scene.tiles.append(Tiles(left, tops[row], width, height, pitch, looks))
        row += rows
    _offsets(scene, picture, left, tops[0], width)
    if pitch - height >= 4:
        _boundaries(scene, picture, left, tops, cell)


def _offsets(scene: Scene, picture: MapPicture, left: int, top: int, width: int) -> None:
    """Add the offsets of columns, and ticks where memory blocks begin, at the upper edge."""
    layout = picture.layout
    least, most = _TICKS
    n = most
    while n > 1 and layout.columns * width // n < least:
        n //= 2
    for i in range(n):
        column = layout.columns // n * i
        x = left + column * width
        scene.boxes.append(Box(x, top - 8, 1, 6, scene.theme.ink))
        anchor: Anchor = "middle" if i else "start"
        scene.text(x, top - 12, f"+{column << layout.shift:#x}", faint=True, anchor=anchor)
    block = picture.block_pages
    if block is not None and layout.blocks_in_rows(block):
        for pfn in range(0, layout.row_pages, block):
            x = left + (pfn >> layout.shift) * width
            scene.boxes.append(Box(x, top - 5, 1, 4, scene.theme.faint))


def _boundaries(
    scene: Scene,
    picture: MapPicture,
    left: int,
    tops: Sequence[int],
    cell: tuple[int, int, int],
) -> None:
    """Add marks above and below the cells where zones begin or end."""
    width, height, _ = cell
    edges = {pfn for zone in picture.zones for pfn in (zone.start, zone.end)}
    for pfn in sorted(edges):
        place = picture.layout.place(pfn)
        if place is None:
            continue
        row, column = place
        x = left + column * width
        scene.boxes.append(Box(x, tops[row] - 3, 2, 3, scene.theme.ink))
        scene.boxes.append(Box(x, tops[row] + height, 2, 3, scene.theme.ink))


def _row_labels(scene: Scene, picture: MapPicture, tops: Sequence[int], height: int) -> None:
    layout, block = picture.layout, picture.block_pages
    marked = block is not None and layout.rows_in_blocks(block)
    right = MARGIN + _LEFT - 10
    scene.text(right - 74, tops[0] - 12, "pfn", faint=True, anchor="end")
    scene.text(right, tops[0] - 12, "address", faint=True, anchor="end")
    last = -LINE
    previous_end = None
    row_pages = layout.row_pages
    for top, start in zip(tops, layout.starts().tolist(), strict=True):
        begins = previous_end is not None and start != previous_end
        if begins and len(layout.windows) <= _MOST_BREAKS:
            left_out = size(start - previous_end << PAGE_SHIFT)
            text = f"{previous_end:#x}-{start:#x} ({left_out}) left out"
            scene.text(MARGIN + _LEFT, top - 6, text, faint=True)
        previous_end = start + row_pages
        if marked and block is not None and not start % block:
            scene.boxes.append(Box(MARGIN + _LEFT - 7, top, 5, 1, scene.theme.ink))
        if top - last >= 15 or (begins and top - last >= 12):
            last = top
            y = top + min(height, 22) // 2 + 5
            scene.text(right - 74, y, f"{start:#x}", anchor="end")
            scene.text(right, y, _address(start), faint=True, anchor="end")


def _address(pfn: int) -> str:
    """Return a physical address in the largest unit of which it is a multiple."""
    address, units = pfn << PAGE_SHIFT, iter(("KiB", "MiB", "GiB", "TiB"))
    unit = ""
    while address and not address % _UNIT:
        address, unit = address // _UNIT, next(units)
    return f"{address:,} {unit}".rstrip()


def _zones(scene: Scene, picture: MapPicture, right: int, tops: Sequence[int], height: int) -> int:
    """Add a bracket and a name for each zone, to the right of the rows; return the right edge."""
    starts = picture.layout.starts()
    row_pages = picture.layout.row_pages
    shown = []
    for zone in picture.zones:
        first = int(np.searchsorted(starts + row_pages, zone.start, "right"))
        last = int(np.searchsorted(starts, zone.end)) - 1
        if first <= last:
            shown.append((zone, tops[first], tops[last] + height))
    lanes: list[int] = []
    placed = []
    for zone, top, bottom in shown:
        lane = next((i for i, end in enumerate(lanes) if end < top), len(lanes))
        lanes[lane : lane + 1] = [bottom]
        placed.append((zone, top, bottom, lane))
    text_at, lowest = right + 20 + _LANE * len(lanes), -LINE
    edge = right
    for zone, top, bottom, lane in sorted(placed, key=lambda each: each[1] + each[2]):
        x, ink = right + 8 + _LANE * lane, scene.theme.faint
        lowest = max(lowest + 16, (top + bottom) // 2 + 4)
        # A line leads from the bracket to its name, which may have to be lower.
        y = min(lowest - 4, bottom - 1)
        bend = text_at - 7
        scene.boxes += [
            Box(x, top, 2, bottom - top, ink),
            Box(x - 4, top, 4, 2, ink),
            Box(x - 4, bottom - 2, 4, 2, ink),
            Box(x + 2, y, bend - x - 2, 1, ink),
            Box(bend, y, 1, lowest - 4 - y + 1, ink),
            Box(bend, lowest - 4, 4, 1, ink),
        ]
        text = f"{zone.name} {zone.start:#x}-{zone.end:#x}"
        scene.text(text_at, lowest, text)
        edge = max(edge, text_at + text_width(text, SMALL))
    return edge


def _legend(scene: Scene, picture: MapPicture, y: int, right: int) -> int:
    """Add the table of counts, and notes; return the lower edge."""
    left = MARGIN
    y += LINE

    def row(cells: Sequence[str], *, faint: bool = False) -> None:
        colour = scene.theme.faint if faint else scene.theme.ink
        scene.captions.append(Caption(left + 26, y, cells[0], TEXT, colour))
        for end, cell in zip(_LEGEND[1:], cells[1:], strict=True):
            if cell:
                scene.captions.append(Caption(left + end, y, cell, TEXT, colour, "end"))

    row(picture.legend_columns, faint=True)
    scene.boxes.append(Box(left, y + 5, _LEGEND[-1], 1, scene.theme.faint))
    y += 4
    for line in picture.legend:
        y += LINE
        if line.look is not None:
            _swatch(scene, left, y, line.look)
        row(line.cells)
    y += 8
    if picture.steps != (0,):
        y = _steps(scene, picture, y, right)
    for note in picture.notes:
        y = _note(scene, note, MARGIN, y, right)
    return y


def _note(scene: Scene, note: str, left: int, y: int, right: int) -> int:
    for text in wrapped(note, max(60, (right - left) // 8)):
        y += LINE
        scene.captions.append(Caption(left, y, text, TEXT, scene.theme.faint))
    return y


def _steps(scene: Scene, picture: MapPicture, y: int, right: int) -> int:
    """Add the steps of a colour, and how to read them; return the lower edge."""
    parts = all(has_parts(tiles.height) for tiles in scene.tiles)
    # Without lines, which would hide the edges of the parts.
    first = family_of(picture.legend[0].look or 0)
    looks = [first + CODES * step for step in (range(3 + picture.changes) if parts else (0, 3))]
    for i, look in enumerate(looks):
        _swatch(scene, MARGIN + 24 * i, y + LINE, look)
    text = sentence_on_steps(changes=picture.changes, parts=parts)
    return _note(scene, text, MARGIN + 24 * len(looks) + 4, y, right)


def _swatch(scene: Scene, x: int, y: int, look: int) -> None:
    for top, height, colour in scene.bands(look, 14):
        scene.boxes.append(Box(x, y - 12 + top, 17, height, colour))
    scene.boxes.append(Box(x, y - 12, 17, 14, scene.theme.faint, outlined=True))
