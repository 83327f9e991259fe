# SPDX-License-Identifier: GPL-2.0-only
"""The colours of pictures. People who see no red or no green can distinguish them too.

The hues were found by a search for the largest distances in CIE Lab between all of them, as they
are and as people with deuteranopia and protanopia see them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .cells import NOTHING, Cells
from .classes import CODES, FREE, HUES, OTHER, UNREADABLE

Colour = tuple[int, int, int]
ThemeName = Literal["light", "dark"]

PURE = 0.9
"""Cells of which at least this part is of one class have its full colour, others a pale one."""
_PALE = 0.5
"""The part of the colour in a pale one; the rest is background."""
LOOKS = 2 * CODES
"""Looks of cells below are codes of classes, and CODES more for pale ones."""
EMPTY = LOOKS
"""The look of a cell without pages: background."""


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of a picture."""

    background: Colour
    ink: Colour
    """Of text and lines."""
    faint: Colour
    """Of text and lines that matter less."""
    hues: tuple[Colour, ...]
    """HUES colours for classes."""
    ramp: tuple[Colour, ...]
    """The same for classes that have an order: small ones stand out."""
    other: Colour
    free: Colour
    unreadable: Colour

    def of_classes(self, *, ordered: bool) -> tuple[Colour, ...]:
        """Return the colour of each code of a class, (CODES,)."""
        found = [*(self.ramp if ordered else self.hues), *[self.background] * (CODES - HUES)]
        found[OTHER], found[FREE], found[UNREADABLE] = self.other, self.free, self.unreadable
        return tuple(found)

    def of_looks(self, *, ordered: bool) -> tuple[Colour, ...]:
        """Return the colour of each look, (LOOKS + 1,)."""
        full = self.of_classes(ordered=ordered)
        return (*full, *(self.pale(colour) for colour in full), self.background)

    def pale(self, colour: Colour) -> Colour:
        """Return the colour of cells that have other pages as well."""
        red, green, blue = (
            round(_PALE * a + (1 - _PALE) * b) for a, b in zip(colour, self.background, strict=True)
        )
        return red, green, blue


def _colours(*texts: str) -> tuple[Colour, ...]:
    return tuple((int(t[:2], 16), int(t[2:4], 16), int(t[4:], 16)) for t in texts)


_RAMP = _colours(
    "440154", "46327e", "365c8d", "277f8e", "1fa187", "4ac16d", "a0da39", "fde725"
)  # viridis
_LIGHT_HUES = ("1f79a3", "efa71f", "57543a", "35b35d", "530098", "71b7fd", "fffc0c", "ce451c")
_DARK_HUES = ("40a9ff", "d8b343", "af1a19", "35e391", "9534fe", "accaef", "fffe47", "c731b3")


def _theme(hues: Sequence[str], ramp: tuple[Colour, ...], *fixed: str) -> Theme:
    background, ink, faint, other, free, unreadable = _colours(*fixed)
    return Theme(background, ink, faint, _colours(*hues), ramp, other, free, unreadable)


THEMES: dict[ThemeName, Theme] = {
    "light": _theme(_LIGHT_HUES, _RAMP, "ffffff", "1c2126", "5c6670", "8a8a8a", "d5dbe2", "000000"),
    "dark": _theme(
        _DARK_HUES, _RAMP[::-1], "161a20", "e8ecf0", "9aa4ae", "9a9a9a", "3a424c", "ffffff"
    ),
}


def looks_of(cells: Cells, changed: npt.NDArray[np.bool_] | None = None) -> npt.NDArray[np.uint8]:
    """Return the look of each cell, (n,).

    With `changed`, cells that did not change are pale, and the others full.
    """
    pale = cells.shares < PURE if changed is None else ~changed
    return np.where(cells.codes == NOTHING, EMPTY, cells.codes + CODES * pale).astype(np.uint8)


def nearest(colour: Colour, others: Sequence[Colour]) -> int:
    """Return the place of the colour that differs least."""
    differences = np.array(others, np.int64) - np.array(colour, np.int64)
    return int((differences**2).sum(axis=1).argmin())
