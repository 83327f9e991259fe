# SPDX-License-Identifier: GPL-2.0-only
"""The colours of pictures. People who see no red or no green can distinguish them too.

They were found by a search for the largest distances between all of them, pale ones and background
included, by CIE76 and CIEDE2000, as they are and as people with deuteranopia and protanopia see
them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from .cells import NOTHING, Cells
from .classes import CODES, FREE, HATCHED, OTHER, UNREADABLE

Colour = tuple[int, int, int]
ThemeName = Literal["light", "dark"]

PURE = 0.9
"""Cells of which at least this part is of one class are full."""
_HALF = 0.5
_SOME = 0.1
STEPS = 4
"""How full a cell is: whole, two thirds, one third, or nothing, and the rest is pale."""
LOOKS = STEPS * CODES
"""The look of a cell is the code of its class, and CODES more for each step down."""
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
    other: Colour
    pale_other: Colour
    free: Colour
    """Near the background."""
    mixed_free: Colour
    """Of free memory with other pages in it, and of memory that became free."""
    unreadable: Colour
    hues: tuple[Colour, ...]
    """HUES colours for classes."""
    ramp: tuple[Colour, ...]
    """The same for classes that have an order: small ones stand out."""
    pale_hues: tuple[Colour, ...]
    """Of the parts of cells that are of other classes, (HUES,)."""
    pale_ramp: tuple[Colour, ...]
    """(len(ORDERS),)."""

    def of_classes(self, *, ordered: bool) -> tuple[Colour, ...]:
        """Return the colour of each code of a class, (CODES,).

        Beside classes with an order other pages are less visible.
        """
        found = self._spread(self.ramp if ordered else self.hues)
        found[OTHER] = self.pale_other if ordered else self.other
        found[FREE], found[UNREADABLE] = self.free, self.unreadable
        return tuple(found)

    def of_pale(self, *, ordered: bool) -> tuple[Colour, ...]:
        """Return the pale colour of each code of a class, (CODES,).

        Unreadable pages have no pale one: they are never overlooked.
        """
        found = self._spread(self.pale_ramp if ordered else self.pale_hues)
        found[OTHER] = self.other if ordered else self.pale_other
        found[FREE], found[UNREADABLE] = self.mixed_free, self.unreadable
        return tuple(found)

    def _spread(self, colours: Sequence[Colour]) -> list[Colour]:
        """Return colours for codes, where hatched ones have those of their families."""
        found = [self.background] * CODES
        for first in (0, HATCHED):
            found[first : first + len(colours)] = colours
        return found

    def of_tones(self, *, ordered: bool, changes: bool) -> tuple[Colour, ...]:
        """Return the full colours of codes, the pale ones, and background: (2 * CODES + 1,).

        In a map of changes, the neutral colours of what did not change are the less visible ones.
        """
        full, pale = [*self.of_classes(ordered=ordered)], [*self.of_pale(ordered=ordered)]
        for code in ((FREE, OTHER) if ordered else (FREE,)) if changes else ():
            full[code], pale[code] = pale[code], full[code]
        return (*full, *pale, self.background)

    def of_looks(self, *, ordered: bool, changes: bool) -> tuple[Colour, ...]:
        """Return one colour for each look, (LOOKS + 1,), for cells with no room for two."""
        tones = self.of_tones(ordered=ordered, changes=changes)
        return tuple(tones[tone_of(look, changes=changes)] for look in range(LOOKS + 1))


def tone_of(look: int, *, changes: bool) -> int:
    """Return the place in Theme.of_tones() of a look that has one colour.

    Cells of a map of changes are full if as much as _SOME of them changed.
    """
    step, code = divmod(look, CODES)
    if look == EMPTY:
        return 2 * CODES
    return code if step <= int(changes) else code + CODES


def _colours(digits: str) -> tuple[Colour, ...]:
    return tuple((int(t[:2], 16), int(t[2:4], 16), int(t[4:], 16)) for t in digits.split())


def _theme(fixed: str, hues: str, pale_hues: str, ramp: str, pale_ramp: str) -> Theme:
    """Return a theme; `fixed` has the colours that it names itself, in their order."""
    background, ink, faint, other, pale_other, free, mixed_free, unreadable = _colours(fixed)
    return Theme(
        background, ink, faint, other, pale_other, free, mixed_free, unreadable,
        *map(_colours, (hues, ramp, pale_hues, pale_ramp)),
    )  # fmt: skip


THEMES: dict[ThemeName, Theme] = {
    "light": _theme(
        "ffffff 1c2126 5c6670 4a4a4a bfbfbf d9dfe6 9ba1a8 000000",
        hues="6672a2 f19222 273a0b 65db88 480b94 72a9f3 e5ff1e cc6842",
        pale_hues="a0a7c5 fad7ae 939c85 caf2d6 a181c8 c0d9fa f2ff90 eac0b0",
        ramp="23003f 3b51a0 467f58 4eaf36 efff3f",
        pale_ramp="776188 a2acd2 8caf97 aedba3 f7ffa2",
    ),
    "dark": _theme(
        "161a20 e8ecf0 9aa4ae b4b4b4 78797c 373d44 555b62 ffffff",
        hues="4a8cf2 d4a04f aa1f19 31ffab 5504ff 59c6f7 ffff34 8e0e79",
        pale_hues="3661a2 8c6d3d 5a1c1d 27a876 3d0caa 4085a5 86882a 561350",
        ramp="f6ff30 17da7b 00aec9 335a93 1c00a2",
        pale_ramp="5a6025 169058 087689 253e5d 210441",
    ),
}


def looks_of(cells: Cells, changed: npt.NDArray[np.float32] | None = None) -> npt.NDArray[np.uint8]:
    """Return the look of each cell, (n,).

    It is as full as most pages are of one class: from PURE on, or half of them, or fewer. With
    `changed`, the part of each cell that changed, (n,), it is as full as that: from a half on, from
    a tenth on, less, or nothing.
    """
    if changed is None:
        step = (cells.shares < PURE).astype(np.int64) + (cells.shares < _HALF)
    else:
        step = (changed < _HALF).astype(np.int64) + (changed < _SOME) + (changed <= 0)
    return np.where(cells.codes == NOTHING, EMPTY, cells.codes + CODES * step).astype(np.uint8)


def nearest(colour: Colour, others: Sequence[Colour]) -> int:
    """Return the place of the colour that differs least."""
    differences = np.array(others, np.int64) - np.array(colour, np.int64)
    return int((differences**2).sum(axis=1).argmin())
