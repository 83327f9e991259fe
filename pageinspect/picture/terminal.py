# SPDX-License-Identifier: GPL-2.0-only
"""Writes a map as text: half blocks in colours, or letters without colours."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

import numpy as np

from ..units import wrapped
from .classes import CODES, FREE, HATCHED, UNREADABLE
from .colours import EMPTY, LOOKS, Colour, Theme, nearest, tone_of
from .curve_scene import pfns_of
from .maps import MapPicture, Panel, Room, sentence_on_steps

Depth = Literal["none", "256", "24-bit"]

_RESET = "\x1b[0m"
_UPPER = "\N{UPPER HALF BLOCK}"
_FULL = "\N{FULL BLOCK}"
_LETTERS = "ABCDEFGH"
_HATCHED_LETTERS = "IJKLMNPQ"
_OTHER_LETTER = "O"
_CUBE = (0, 95, 135, 175, 215, 255)
_GREYS = range(8, 248, 10)
LABEL = 12
"""Characters before the cells of a line: the first pfn."""
_NARROWEST, _WIDEST = 8, 128
LINES = 32
"""Lines of cells by default, at most."""


def colour_depth(environ: Mapping[str, str], *, is_terminal: bool) -> Depth:
    """Return how many colours the output has, by NO_COLOR, COLORTERM and TERM."""
    term = environ.get("TERM", "")
    if environ.get("NO_COLOR") or not is_terminal or term in ("", "dumb"):
        return "none"
    if environ.get("COLORTERM") in ("truecolor", "24bit") or term.endswith("-direct"):
        return "24-bit"
    return "256" if "256color" in term else "none"


def has_blocks(encoding: str | None) -> bool:
    """Return whether text of this encoding can have half blocks."""
    try:
        (_UPPER + _FULL).encode(encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


@dataclass(frozen=True, slots=True)
class TextStyle:
    """How text is written."""

    depth: Depth
    blocks: bool
    """Whether the output can have half blocks; otherwise each line is one row of letters."""
    width: int
    """Characters of a line."""

    @property
    def rows_per_line(self) -> int:
        """Rows of cells in each line."""
        return 2 if self.depth != "none" and self.blocks else 1


def room_for(style: TextStyle) -> Room:
    """Return the room for cells: a power of two beside labels, and some lines."""
    fits = max(style.width - LABEL, _NARROWEST)
    columns = min(1 << fits.bit_length() - 1, _WIDEST)
    return Room(columns, LINES * style.rows_per_line)


def text_lines(picture: MapPicture, theme: Theme, style: TextStyle) -> Iterator[str]:
    """Yield lines of text, without line ends. No line has more characters than the width."""
    writer = _Writer(picture, theme, style)
    for text in (picture.title, *picture.facts):
        yield from wrapped(text, style.width)
    for panel in picture.panels:
        yield ""
        yield from wrapped(panel.heading, style.width)
        yield from writer.cells(picture, panel)
    yield ""
    yield from writer.legend(picture)
    for note in writer.notes(picture):
        yield from wrapped(note, style.width)


def letter_of(tone: int) -> str:
    """Return the character of a place in Theme.of_tones(): a capital letter for full colours."""
    if tone == 2 * CODES:
        return " "
    code, is_full = tone % CODES, tone < CODES
    if code == FREE:
        return "." if is_full else ":"
    if code == UNREADABLE:
        return "?"
    letter = _HATCHED_LETTERS[code - HATCHED] if code >= HATCHED else _OTHER_LETTER
    if code < len(_LETTERS):
        letter = _LETTERS[code]
    return letter if is_full else letter.lower()


class _Writer:
    """Writes cells and the legend in one style."""

    def __init__(self, picture: MapPicture, theme: Theme, style: TextStyle) -> None:
        self._style = style
        colours = theme.of_looks(ordered=picture.ordered, changes=picture.changes)
        self._colours = [self._escape(colour) for colour in colours]
        tones = [tone_of(look, changes=picture.changes) for look in range(LOOKS + 1)]
        self._letters = np.array([letter_of(tone) for tone in tones])

    def _escape(self, colour: Colour) -> str:
        """Return the parameters of the escape sequence of a colour, after 38; or 48;."""
        if self._style.depth == "24-bit":
            return "2;{};{};{}".format(*colour)
        return f"5;{nearest_of_256(colour)}"

    def cells(self, picture: MapPicture, panel: Panel) -> Iterator[str]:
        """Yield the lines of a panel, each with the pfn of its first row."""
        layout, first = picture.layout, 0
        curve = pfns_of(layout)[:, 0].tolist() if layout.is_curve else None
        for number, (start, end) in enumerate(layout.windows):
            if number:
                yield f"{'...':>{LABEL - 1}}"
            rows = layout.rows if layout.is_curve else (end - start) // layout.row_pages
            for row in range(0, rows, self._style.rows_per_line):
                upto = min(row + self._style.rows_per_line, rows)
                looks = panel.looks[first + row : first + upto]
                pfn = curve[row] if curve else start + row * layout.row_pages
                yield f"{pfn:#{LABEL - 1}x} {self._line([each.tolist() for each in looks])}"
            first += rows

    def _line(self, rows: list[list[int]]) -> str:
        if self._style.depth == "none":
            return "".join(self._letters[rows[0]]).rstrip()
        text, last = [], None
        for looks in zip_longest(*rows):
            if looks != last:
                text.append(self._sequence(looks))
                last = looks
            text.append(_UPPER if self._style.blocks else " ")
        return "".join(text) + _RESET

    def _sequence(self, looks: tuple[int, ...]) -> str:
        if not self._style.blocks:
            return f"\x1b[48;{self._colours[looks[0]]}m"
        below = self._colours[looks[1] if len(looks) > 1 else EMPTY]
        return f"\x1b[38;{self._colours[looks[0]]};48;{below}m"

    def _swatch(self, look: int | None) -> str:
        if look is None:
            return "  "
        if self._style.depth == "none":
            return f"{self._letters[look]} "
        if self._style.blocks:
            return f"\x1b[38;{self._colours[look]}m{_FULL * 2}{_RESET}"
        return f"\x1b[48;{self._colours[look]}m  {_RESET}"

    def legend(self, picture: MapPicture) -> Iterator[str]:
        """Yield the table of counts."""
        numbers = [12, 12, 12] if picture.changes else [12, 7, 11]
        wide = min(44, self._style.width - 4 - sum(numbers))
        if wide < len(picture.legend_columns[0]):
            # The lines are narrow: names and the first number alone.
            numbers = numbers[:1]
            wide = max(self._style.width - 4 - numbers[0], 1)
        lines = [(None, picture.legend_columns), *((x.look, x.cells) for x in picture.legend)]
        for look, (name, *others) in lines:
            first, *more = wrapped(name, wide)
            cells = "".join(f"{c:>{n}}" for c, n in zip(others, numbers, strict=False))
            yield f"{self._swatch(look)}  {first:{wide}}{cells}".rstrip()
            yield from (f"    {text}" for text in more)
        zones = ", ".join(f"{zone.name} {zone.start:#x}-{zone.end:#x}" for zone in picture.zones)
        if zones:
            yield from wrapped(f"Zones: {zones}", self._style.width)

    def notes(self, picture: MapPicture) -> Iterator[str]:
        """Yield sentences on how to read it."""
        if picture.steps != (0,):
            yield sentence_on_steps(changes=picture.changes, parts=False)
            if self._style.depth == "none":
                yield "Full is a capital letter or a dot, pale a small letter or a colon."
        yield from (note for note in picture.notes if "marks" not in note)
        if picture.layout.is_curve:
            yield "The pfn at the left of a line is that of its first cell."


def nearest_of_256(colour: Colour) -> int:
    """Return the number of the nearest of the 240 fixed colours of terminals with 256."""
    cube = [(r, g, b) for r in _CUBE for g in _CUBE for b in _CUBE]
    return 16 + nearest(colour, [*cube, *((grey, grey, grey) for grey in _GREYS)])
