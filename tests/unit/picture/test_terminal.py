# SPDX-License-Identifier: GPL-2.0-only
"""Maps as text: widths, colours and letters."""

import re

import pytest
from drawn_memory import each, memory

from pageinspect.picture.classes import CODES
from pageinspect.picture.colours import THEMES, Theme
from pageinspect.picture.maps import MapChoice, MapPicture, map_of
from pageinspect.picture.terminal import (
    LABEL,
    Depth,
    TextStyle,
    colour_depth,
    has_blocks,
    letter_of,
    nearest_of_256,
    room_for,
    text_lines,
)

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def picture_for(style: TextStyle, **choice: object) -> MapPicture:
    return map_of(
        [memory()], ["vmcore"], MapChoice(room=room_for(style), **choice), 1 << 20  # type: ignore[arg-type]
    )  # fmt: skip


def lines(style: TextStyle, **choice: object) -> list[str]:
    return [*text_lines(picture_for(style, **choice), THEMES["dark"], style)]


@pytest.mark.parametrize(
    ("environ", "depth"),
    [
        ({"TERM": "xterm"}, "none"),
        ({"TERM": "xterm-256color"}, "256"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "24-bit"),
        ({"TERM": "screen", "COLORTERM": "24bit"}, "24-bit"),
        ({"TERM": "xterm-direct"}, "24-bit"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"}, "none"),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, "256"),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, "none"),
        ({}, "none"),
    ],
)
def test_colours_by_the_environment(environ: dict[str, str], depth: Depth) -> None:
    assert colour_depth(environ, is_terminal=True) == depth
    assert colour_depth(environ, is_terminal=False) == "none"


@pytest.mark.parametrize("width", [20, 40, 80, 81, 140, 200])
@pytest.mark.parametrize("depth", ["none", "256", "24-bit"])
@pytest.mark.parametrize("blocks", [True, False])
def test_no_line_is_longer_than_the_terminal(width: int, depth: Depth, blocks: bool) -> None:
    for line in lines(TextStyle(depth, blocks, width)):
        assert len(ESCAPE.sub("", line)) <= width
        if depth == "none":
            assert line.isprintable()
        assert blocks or line.isascii() or depth != "none"


@pytest.mark.parametrize("depth", ["none", "24-bit"])
def test_the_legend_has_columns(depth: Depth) -> None:
    text = [ESCAPE.sub("", line) for line in lines(TextStyle(depth, blocks=True, width=80))]
    (top,) = (i for i, line in enumerate(text) if line.split() == ["use", "pages", "%", "size"])
    legend = text[top : top + 7]
    assert [line[4:].split()[0] for line in legend] == [
        "use", "anon", "slab", "file", "reserved", "free:", "unreadable",
    ]  # fmt: skip
    assert {line[2:4] for line in legend} == {"  "}
    assert len({len(line) for line in legend}) == 1


def test_letters_are_the_cells() -> None:
    style = TextStyle("none", blocks=True, width=80)
    text = lines(style, shift=0)
    letters = {
        line[4:].split("  ")[0].removeprefix("free: "): line[0]
        for line in text
        if line[1:4] == "   "
    }
    names = {name: letter for key, letter in letters.items() for name in key.split(", ")}
    uses = dict(each())
    rows = {
        int(line.split()[0], 16): line[LABEL:] for line in text if line.lstrip().startswith("0x")
    }
    assert len(rows) > 4
    for start, row in rows.items():
        for i, letter in enumerate(row):
            use = uses.get(start + i)
            assert letter == (names[use] if use else " "), hex(start + i)
    drawn = sum(len(row.replace(" ", "")) for row in rows.values())
    assert drawn == len(uses)


def test_two_rows_of_cells_are_a_line_of_half_blocks() -> None:
    style = TextStyle("24-bit", blocks=True, width=80)
    picture = picture_for(style, shift=0)
    text = lines(style, shift=0)
    colours = THEMES["dark"].of_looks(ordered=False, changes=False)
    drawn = [line for line in text if line.lstrip().startswith("0x")]
    first = (line for line in drawn)
    row = 0
    for start, end in picture.layout.windows:
        rows = (end - start) // picture.layout.row_pages
        for at in range(0, rows, 2):
            line = next(first)
            assert int(line.split()[0], 16) == start + at * picture.layout.row_pages
            cells, state = [], ("", "")
            for escape, block in re.findall(r"\x1b\[([0-9;]*)m|(▀)", line):
                if block:
                    cells.append(state)
                elif escape != "0":
                    _, upper, lower = re.split(r"(?:^|;)[34]8;2;", escape)
                    state = (upper, lower)
            for column, (upper, lower) in enumerate(cells):
                assert upper == ";".join(map(str, colours[picture.panels[0].looks[row, column]]))
                if at + 1 < rows:
                    below = colours[picture.panels[0].looks[row + 1, column]]
                else:
                    below = THEMES["dark"].background
                assert lower == ";".join(map(str, below))
            row += 2 if at + 1 < rows else 1
    assert next(first, None) is None


def test_each_tone_has_a_letter_of_its_own() -> None:
    letters = [letter_of(tone) for tone in range(2 * CODES + 1)]
    # Both tones of pages that cannot be read are the same.
    assert len({*letters}) == len(letters) - 1
    assert all(len(letter) == 1 for letter in letters)


@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("theme", THEMES.values(), ids=list(THEMES))
def test_all_tones_have_colours_of_their_own_among_256(theme: Theme, ordered: bool) -> None:
    tones = {*theme.of_tones(ordered=ordered, changes=False)}
    assert len({nearest_of_256(colour) for colour in tones}) == len(tones)


def test_terminals_have_240_fixed_colours() -> None:
    assert nearest_of_256((255, 0, 0)) == 196
    assert nearest_of_256((8, 8, 8)) == 232


def test_half_blocks_need_an_encoding_that_has_them() -> None:
    assert has_blocks("utf-8")
    assert not has_blocks("latin-1")
    assert not has_blocks("no such encoding")
    assert not has_blocks(None)


@pytest.mark.parametrize("depth", ["none", "24-bit"])
def test_lines_of_a_curve_have_the_pfn_of_their_first_cell(depth: Depth) -> None:
    style = TextStyle(depth, blocks=True, width=80)
    picture = picture_for(style, shift=2, hilbert=True)
    text = [ESCAPE.sub("", line) for line in lines(style, shift=2, hilbert=True)]
    labels = [int(line.split()[0], 16) for line in text if line.lstrip().startswith("0x")]
    rows = range(0, picture.layout.rows, style.rows_per_line)
    assert len(labels) == len(rows) > 4
    for row, pfn in zip(rows, labels, strict=True):
        assert picture.layout.place(pfn) == (row, 0)
        assert picture.layout.place(pfn - 1) != (row, 0)


@pytest.mark.parametrize("width", [24, 40, 80])
def test_no_text_is_cut(width: int) -> None:
    style = TextStyle("none", blocks=True, width=width)
    source = "/a/long/name/of/a/folder/for/cores/" + 6 * "core-of-a-machine-"
    picture = map_of([memory()], [source], MapChoice(room=room_for(style)), 1 << 20)
    text = "".join(line.strip() for line in text_lines(picture, THEMES["dark"], style))
    assert source in text
    assert "~" not in text
    assert "Memoryoflabbyuse" in text.replace(" ", "")
