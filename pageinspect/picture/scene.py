# SPDX-License-Identifier: GPL-2.0-only
"""Places the parts of a map of memory: boxes, texts and tiles, in pixels."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..model.arch import PAGE_SHIFT
from ..units import size, wrapped
from .classes import CODES
from .colours import Colour, Theme
from .layouts import COLUMNS, Layout
from .maps import MapPicture, Panel

_MARGIN = 20
_WIDE, _SHARED = 1024, 560
"""Width for the cells, of one panel and of each of two."""
_HIGH, _CURVE = 720, 768
_TALLEST, _LARGEST = 28, 16
_LEFT = 164
"""Width of the labels of rows."""
_BETWEEN = 28
_LANE = 10
_BREAK = 18
"""Height between rows where pfns are left out."""
_MOST_BREAKS = 24
_TITLE, _TEXT, _SMALL = 20, 14, 12
"""Sizes of text."""
_LINE = 20
_TICKS = (80, 8)
"""Least pixels between labels at the upper edge, and how many there are at most."""
_LEGEND = (360, 480, 560, 680)
"""Where the columns of the legend end, from its left."""
_KEY = (84, 20)
"""Width and height of the squares of the key to a curve, which has 4 by 4 for each square."""

_UNIT = 1024

Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of one colour."""

    x: int
    y: int
    width: int
    height: int
    colour: Colour
    outlined: bool = False
    """Whether its outline alone is drawn, one pixel wide, within it."""


@dataclass(frozen=True, slots=True)
class Caption:
    """A text on one line."""

    x: int
    y: int
    """Of its baseline."""
    text: str
    size: int
    colour: Colour
    anchor: Anchor = "start"


@dataclass(frozen=True, slots=True, eq=False)
class Tiles:
    """Cells of the same size."""

    x: int
    y: int
    width: int
    height: int
    """Of each cell."""
    pitch: int
    """From one row to the next."""
    looks: npt.NDArray[np.uint8]
    """(rows, columns): places in Scene.colours."""


@dataclass(slots=True)
class Scene:
    """A drawing in pixels. Cells of the look EMPTY are background."""

    title: str
    description: str
    theme: Theme
    colours: tuple[Colour, ...]
    width: int = 0
    height: int = 0
    boxes: list[Box] = field(default_factory=list)
    captions: list[Caption] = field(default_factory=list)
    tiles: list[Tiles] = field(default_factory=list)

    def text(
        self, x: int, y: int, text: str, *, faint: bool = False, anchor: Anchor = "start"
    ) -> None:
        """Add small text."""
        colour = self.theme.faint if faint else self.theme.ink
        self.captions.append(Caption(x, y, text, _SMALL, colour, anchor))

    def line(self, y: int, text: str, height: int = _TEXT, *, faint: bool = False) -> None:
        """Add a line of text from the left edge."""
        colour = self.theme.faint if faint else self.theme.ink
        self.captions.append(Caption(_MARGIN, y, text, height, colour))


def scene_of(picture: MapPicture, theme: Theme) -> Scene:
    """Place the parts of a map."""
    scene = Scene(
        picture.title,
        "; ".join((*picture.facts, *(" ".join(line.cells) for line in picture.legend))),
        theme,
        theme.of_looks(ordered=picture.ordered),
    )
    y = _MARGIN + _TITLE
    scene.line(y, picture.title, _TITLE)
    for fact in picture.facts:
        y += _LINE
        scene.line(y, fact, faint=True)
    y += _LINE
    right, bottom = (_curve if picture.layout.is_curve else _rows)(scene, picture, y)
    right = max(right, _MARGIN + _LEGEND[-1])
    bottom = _legend(scene, picture, bottom + 16, right)
    widest = max(_width(caption) for caption in scene.captions)
    scene.width, scene.height = max(right, widest) + _MARGIN, bottom + _MARGIN
    return scene


def _width(caption: Caption) -> int:
    """Return about where a text ends."""
    return caption.x + (_text_width(caption.text, caption.size) if caption.anchor == "start" else 0)


def _text_width(text: str, height: int) -> int:
    return round(0.56 * height * len(text))


def _rows(scene: Scene, picture: MapPicture, y: int) -> tuple[int, int]:
    """Add panels of rows; return the right and lower edge."""
    layout, panels = picture.layout, picture.panels
    wide = _WIDE if len(panels) == 1 else _SHARED
    width = max(1, min(_LARGEST, wide // layout.columns))
    tallest = _TALLEST if layout.columns >= COLUMNS else _LARGEST
    height = max(1, min(tallest, _HIGH // layout.rows))
    pitch = height + (max(4, height // 5) if height >= 8 else 0)
    if panels[0].heading:
        y += _LINE
    y += 2 * _LINE
    tops = _tops(layout, y, pitch)
    left = _MARGIN + _LEFT
    for panel in panels:
        if panel.heading:
            scene.text(left, y - 2 * _LINE, panel.heading)
        _panel(scene, picture, panel, left, tops, (width, height, pitch))
        left += layout.columns * width + _BETWEEN
    _row_labels(scene, picture, tops, height)
    right = left - _BETWEEN
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
    right = _MARGIN + _LEFT - 10
    scene.text(right - 74, tops[0] - 12, "pfn", faint=True, anchor="end")
    scene.text(right, tops[0] - 12, "address", faint=True, anchor="end")
    last = -_LINE
    previous_end = None
    row_pages = layout.row_pages
    for top, start in zip(tops, layout.starts().tolist(), strict=True):
        begins = previous_end is not None and start != previous_end
        if begins and len(layout.windows) <= _MOST_BREAKS:
            left_out = size(start - previous_end << PAGE_SHIFT)
            text = f"{previous_end:#x}-{start:#x} ({left_out}) left out"
            scene.text(_MARGIN + _LEFT, top - 6, text, faint=True)
        previous_end = start + row_pages
        if marked and block is not None and not start % block:
            scene.boxes.append(Box(_MARGIN + _LEFT - 7, top, 5, 1, scene.theme.ink))
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
    text_at, lowest = right + 14 + _LANE * len(lanes), -_LINE
    edge = right
    for zone, top, bottom, lane in placed:
        x = right + 8 + _LANE * lane
        for box in (
            Box(x, top, 2, bottom - top, scene.theme.faint),
            Box(x - 4, top, 4, 2, scene.theme.faint),
            Box(x - 4, bottom - 2, 4, 2, scene.theme.faint),
        ):
            scene.boxes.append(box)
        lowest = max(lowest + 16, top + 11)
        text = f"{zone.name} {zone.start:#x}-{zone.end:#x}"
        scene.text(text_at, lowest, text)
        edge = max(edge, text_at + _text_width(text, _SMALL))
    return edge


def _curve(scene: Scene, picture: MapPicture, y: int) -> tuple[int, int]:
    """Add panels with a Hilbert curve, and a key with pfns; return the right and lower edge."""
    layout, panels = picture.layout, picture.panels
    wide = _WIDE if len(panels) == 1 else _SHARED
    side = max(1, min(_LARGEST, _CURVE // layout.rows, wide // layout.columns))
    top = y + (_LINE if panels[0].heading else 0)
    left = _MARGIN
    for panel in panels:
        if panel.heading:
            scene.text(left, top - 8, panel.heading)
        across, down = layout.columns * side, layout.rows * side
        scene.boxes.append(
            Box(left - 1, top - 1, across + 2, down + 2, scene.theme.free, outlined=True)
        )
        scene.tiles.append(Tiles(left, top, side, side, side, panel.looks))
        left += across + _BETWEEN
    bottom = top + layout.rows * side
    right, key_bottom = _key(scene, layout, left, top + 12)
    for zone in picture.zones:
        key_bottom += 18
        scene.text(left, key_bottom, f"{zone.name} {zone.start:#x}-{zone.end:#x}")
    return right, max(bottom, key_bottom)


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


def _legend(scene: Scene, picture: MapPicture, y: int, right: int) -> int:
    """Add the table of counts, and notes; return the lower edge."""
    left = _MARGIN
    y += _LINE

    def row(cells: Sequence[str], *, faint: bool = False) -> None:
        colour = scene.theme.faint if faint else scene.theme.ink
        scene.captions.append(Caption(left + 26, y, cells[0], _TEXT, colour))
        for end, cell in zip(_LEGEND[1:], cells[1:], strict=True):
            if cell:
                scene.captions.append(Caption(left + end, y, cell, _TEXT, colour, "end"))

    row(picture.legend_columns, faint=True)
    scene.boxes.append(Box(left, y + 5, _LEGEND[-1], 1, scene.theme.faint))
    y += 4
    for line in picture.legend:
        y += _LINE
        if line.look is not None:
            _swatch(scene, left, y, line.look)
        row(line.cells)
    y += 8
    first = picture.legend[0].look
    if picture.has_pale and first is not None and first < CODES:
        y += _LINE
        _swatch(scene, left, y, first)
        _swatch(scene, left + 24, y, first + CODES)
        scene.captions.append(Caption(left + 52, y, "full and pale", _TEXT, scene.theme.faint))
    for note in picture.notes:
        for text in wrapped(note, max(60, right // 8)):
            y += _LINE
            scene.line(y, text, faint=True)
    return y


def _swatch(scene: Scene, x: int, y: int, look: int) -> None:
    scene.boxes.append(Box(x, y - 12, 17, 14, scene.colours[look]))
    scene.boxes.append(Box(x, y - 12, 17, 14, scene.theme.faint, outlined=True))
