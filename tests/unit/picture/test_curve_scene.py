# SPDX-License-Identifier: GPL-2.0-only
"""A Hilbert map: borders of zones and memory blocks, and pfns at its edges, by its pixels."""

import re
from dataclasses import replace

import numpy as np
import pytest
from compared_snapshots import KERNEL
from drawn_memory import ZONES, image_of, memory

from pageinspect.model.memory_map import Zone
from pageinspect.picture.colours import THEMES
from pageinspect.picture.drawing import Scene
from pageinspect.picture.maps import MapChoice, MapPicture, map_of
from pageinspect.picture.scene import scene_of

THEME = THEMES["light"]
PAGES = 0x500


def drawn(**kernel: object) -> tuple[MapPicture, Scene]:
    made = replace(KERNEL, **kernel)  # type: ignore[arg-type]
    snapshot = memory([(0, PAGES, "anon", 1)], kernel=made.to_json())
    picture = map_of([snapshot], ["vmcore"], MapChoice(shift=2, hilbert=True), 1 << 20)
    return picture, scene_of(picture, THEME)


def neighbours(picture: MapPicture) -> list[tuple[int, int]]:
    """Return the first pfns of cells that are beside or below each other."""
    layout = picture.layout
    at = {
        layout.place(pfn): pfn
        for start, end in layout.windows
        for pfn in range(start, end, layout.cell_pages)
    }
    return [
        (pfn, at[other])
        for (row, column), pfn in at.items()  # type: ignore[misc]
        for other in ((row, column + 1), (row + 1, column))
        if other in at
    ]


def lines_between(scene: Scene, picture: MapPicture, colour: object) -> set[frozenset[int]]:
    """Return the first pfns of neighbours between which all pixels have a colour."""
    (tiles,) = scene.tiles
    side, pixels, place = tiles.width, image_of(scene), picture.layout.place
    found = set()
    for pfn, other in neighbours(picture):
        (row, column), below = place(pfn), place(other)  # type: ignore[misc]
        x, y = tiles.x + column * side, tiles.y + row * side
        if below == (row, column + 1):
            line = pixels[y + 4 : y + side - 4, x + side]
        else:
            line = pixels[y + side, x + 4 : x + side - 4]
        if (line == np.array(colour)).all():
            found.add(frozenset((pfn, other)))
    return found


@pytest.mark.parametrize(
    "zones",
    [
        (
            Zone(0, "DMA", 0, 0x40),
            Zone(0, "DMA32", 0x40, 0x2B0, 1),
            Zone(1, "Normal", 0x2B0, PAGES),
        ),
        (
            Zone(0, "Normal", 0, 0x100),
            Zone(1, "Normal", 0x100, 0x300),
            Zone(0, "Top", 0x300, PAGES),
        ),
    ],
)
def test_a_line_is_where_neighbours_are_of_two_zones(zones: tuple[Zone, ...]) -> None:
    picture, scene = drawn(zones=zones, memory_block_pages=None)

    def zone(pfn: int) -> int:
        return next((i for i, z in enumerate(zones) if z.start <= pfn < z.end), -1)

    expected = {
        frozenset((pfn, other)) for pfn, other in neighbours(picture) if zone(pfn) != zone(other)
    }
    assert len(expected) > 20
    assert lines_between(scene, picture, THEME.ink) == expected


def test_memory_blocks_have_gaps_if_they_are_large_enough() -> None:
    picture, scene = drawn(zones=(), memory_block_pages=0x100)
    gaps = lines_between(scene, picture, THEME.background)
    layout = picture.layout
    assert {pair for pair in gaps if len({pfn // 0x100 for pfn in pair}) == 2} == {
        frozenset((pfn, other))
        for pfn, other in neighbours(picture)
        if pfn // 0x100 != other // 0x100
    }
    # Beyond the memory cells have the colour of gaps.
    assert all(min(pair) >= PAGES or len({pfn // 0x100 for pfn in pair}) == 2 for pair in gaps)
    texts = [caption.text for caption in scene.captions]
    assert "Thin gaps: borders of memory blocks of 1 MiB" in texts
    picture, scene = drawn(zones=(), memory_block_pages=1 << layout.shift)
    assert not scene.borders


def test_pfns_at_the_edges_are_those_of_their_cells() -> None:
    picture, scene = drawn(zones=ZONES)
    (tiles,) = scene.tiles
    side, layout = tiles.width, picture.layout
    left = [c for c in scene.captions if c.anchor == "end" and c.x < tiles.x]
    left = [c for c in left if tiles.y < c.y <= tiles.y + layout.rows * side]
    upper = [c for c in scene.captions if re.fullmatch("0x[0-9a-f]+", c.text) and c.y < tiles.y]
    assert len(left) >= 4
    assert len(upper) >= 4
    for caption in left:
        pfn = int(caption.text.split()[-1], 16)
        assert layout.place(pfn) == ((caption.y - tiles.y) // side, 0)
        zone = re.match("[A-Za-z0-9]+(?= )", caption.text)
        assert zone is None or any(
            z.name == zone[0] and z.start <= pfn < z.end for z in picture.zones
        )
    for caption in upper:
        assert layout.place(int(caption.text, 16)) == (0, (caption.x - tiles.x) // side)
    # The zones of the left edge have their names there, each once.
    assert {c.text.split()[0] for c in left if " " in c.text} <= {"0/DMA", "1/Normal"}
    assert any(" " in c.text for c in left)
