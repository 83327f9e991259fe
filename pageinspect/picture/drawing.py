# SPDX-License-Identifier: GPL-2.0-only
"""A drawing in pixels: boxes, texts and cells, which images are made of."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..units import wrapped
from .classes import CODES, HATCHED
from .colours import EMPTY, STEPS, Colour, Theme, tone_of
from .maps import MapPicture

MARGIN = 20
TEXT, SMALL = 14, 12
"""Sizes of text."""
LINE = 20
_WIDE = 1024
"""Width for the cells of all panels."""
_LARGEST = 16
"""Width of cells."""
BETWEEN = 28
"""Width between two panels."""
_LETTER = 0.56
"""Width of a letter, about, for its height."""
_LEAST_PARTS = 3
"""Height of cells that can have two colours."""
_HATCH = 4
"""Rows of pixels from one line of a hatched colour to the next."""

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
    """(rows, columns), as colours.looks_of() returns them."""


@dataclass(slots=True)
class Scene:
    """A drawing in pixels. Cells of the look EMPTY are background."""

    title: str
    description: str
    theme: Theme
    tones: tuple[Colour, ...]
    """As Theme.of_tones() returns them."""
    changes: bool
    """Whether looks are of a map of changes."""
    width: int = 0
    height: int = 0
    boxes: list[Box] = field(default_factory=list)
    captions: list[Caption] = field(default_factory=list)
    tiles: list[Tiles] = field(default_factory=list)
    borders: list[Box] = field(default_factory=list)
    """Over cells."""

    def bands(self, look: int, height: int) -> list[tuple[int, int, Colour]]:
        """Return the upper edge, height and colour of each part of a cell; full ones are above."""
        step, code = divmod(look, CODES)
        if height < _LEAST_PARTS or look == EMPTY:
            return [(0, height, self.tones[tone_of(look, changes=self.changes)])]
        edge = round(height * (STEPS - 1 - step) / (STEPS - 1))
        full, pale = (0, edge, self.tones[code]), (edge, height - edge, self.tones[code + CODES])
        bands = [band for band in (full, pale) if band[1]]
        return self._hatched(bands) if code >= HATCHED and height > _HATCH else bands

    def _hatched(self, bands: list[tuple[int, int, Colour]]) -> list[tuple[int, int, Colour]]:
        """Return the bands with lines in the first of them."""
        (top, height, colour), *others = bands
        found, last = [], top
        for line in range(top + _HATCH // 2, top + height, _HATCH):
            found += [(last, line - last, colour), (line, 1, self.theme.background)]
            last = line + 1
        return [band for band in (*found, (last, top + height - last, colour), *others) if band[1]]

    def text(
        self, x: int, y: int, text: str, *, faint: bool = False, anchor: Anchor = "start"
    ) -> None:
        """Add small text."""
        colour = self.theme.faint if faint else self.theme.ink
        self.captions.append(Caption(x, y, text, SMALL, colour, anchor))

    def line(self, y: int, text: str, height: int = TEXT, *, faint: bool = False) -> None:
        """Add a line of text from the left edge."""
        colour = self.theme.faint if faint else self.theme.ink
        self.captions.append(Caption(MARGIN, y, text, height, colour))


def text_width(text: str, height: int) -> int:
    """Return about how many pixels a text takes."""
    return round(_LETTER * height * len(text))


def has_parts(height: int) -> bool:
    """Return whether cells of this height can have two colours."""
    return height >= _LEAST_PARTS


def cell_width(picture: MapPicture) -> int:
    """Return the width of cells: two panels together are as wide as one."""
    one = min(_LARGEST, _WIDE // picture.layout.columns)
    return max(1, one // len(picture.panels))


def add_headings(scene: Scene, picture: MapPicture, left: int, y: int, across: int) -> int:
    """Add the headings of panels that are `across` pixels wide; return the lower edge."""
    most = max(int(across / (_LETTER * SMALL)), 24)
    lines = [wrapped(panel.heading, most) for panel in picture.panels]
    for i, texts in enumerate(lines):
        for j, text in enumerate(texts):
            scene.text(left + i * (across + BETWEEN), y + j * (SMALL + 4), text)
    return y + (SMALL + 4) * max(map(len, lines))
