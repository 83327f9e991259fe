# SPDX-License-Identifier: GPL-2.0-only
"""A small memory made by hand, and what a map of it must show, worked out page by page."""

import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from compared_snapshots import KERNEL, snapshot
from PIL import Image

from pageinspect.model.memory_map import Zone
from pageinspect.model.snapshot import Snapshot
from pageinspect.picture.classes import HATCHED
from pageinspect.picture.colours import EMPTY, Colour, Theme
from pageinspect.picture.drawing import Scene
from pageinspect.picture.maps import MapPicture
from pageinspect.picture.png import write_png

RUNS = [
    (0x1, 0x3F, "reserved", 0),
    (0x40, 0x25, "anon", 1),
    (0x65, 0x1, "file", 2),
    (0x66, 0x1A, "buddy", 3),
    (0x80, 0x61, "file", 2),
    (0xE1, 0x1, "unreadable", 4),
    # No struct pages from 0xe2 to 0x400.
    (0x400, 0x80, "slab", 5),
    (0x480, 0x3, "pcp", 3),
    (0x483, 0x7D, "anon", 1),
]
OWNERS = [
    (0, "boot", ""), (1, "anon", "bash[7]"), (2, "file", "/a<b>&c"), (3, "free", ""),
    (4, "unreadable", ""), (5, "slab", "dentry"),
]  # fmt: skip
ZONES = (Zone(0, "DMA", 1, 0x80), Zone(1, "Normal", 0x80, 0x500, 2))


class Painted(NamedTuple):
    """How a cell is drawn."""

    colour: Colour
    is_hatched: bool = False


def memory(runs: Any = RUNS, **header: Any) -> Snapshot:
    """Return a snapshot of the memory."""
    kernel = replace(
        KERNEL, zones=ZONES, memory_block_pages=0x40, missing={"owners": (), "contiguity": ()}
    )
    return snapshot(runs, OWNERS, **{"kernel": kernel.to_json(), **header})


def each(runs: Any = RUNS) -> Iterator[tuple[int, str]]:
    """Yield the pfn and use of each page, as `list --each` has them."""
    for pfn, n, use, _ in runs:
        for i in range(n):
            yield pfn + i, use


def majority(first: int, size: int, runs: Any = RUNS) -> tuple[set[str], float]:
    """Return the uses that most pages of a cell have, and their part of it; none without pages."""
    counts = Counter(use for pfn, use in each(runs) if first <= pfn < first + size)
    most = max(counts.values(), default=0)
    return {use for use, n in counts.items() if n == most and n}, most / size


def image_of(scene: Scene) -> npt.NDArray[np.uint8]:
    stream = io.BytesIO()
    write_png(scene, stream)
    return np.asarray(Image.open(stream).convert("RGB"))


def cells_in(scene: Scene, pixels: npt.NDArray[np.uint8]) -> list[tuple[int, int, Painted, float]]:
    """Return the place of each cell in an image, its upper colour, and how much of it has that.

    Borders are left out: they are drawn over the first and last pixels of cells.
    """
    found = []
    for tiles in scene.tiles:
        edge = 2 if scene.borders and tiles.width > 8 else 0
        for row, column in np.ndindex(tiles.looks.shape):
            x, y = tiles.x + column * tiles.width, tiles.y + row * tiles.pitch
            across = slice(x + edge, x + tiles.width - edge)
            cell = pixels[y : y + tiles.height, across]
            assert (cell[edge : tiles.height - edge] == cell[edge : tiles.height - edge, :1]).all()
            lines = cell[edge : tiles.height - edge, 0].tolist()
            # Its own colour is that of the first line; every fourth one is background if hatched.
            background = [*scene.theme.background]
            own = next((line for line in lines if line != background), background)
            full = [line == own for line in lines]
            is_hatched = own != background and background in lines
            upper = edge + max(i for i, is_own in enumerate(full, 1) if is_own)
            share = 1.0 if upper >= tiles.height - edge - is_hatched else upper / tiles.height
            if not is_hatched:
                assert all(full[: upper - edge])
            red, green, blue = own
            found.append((x, y, Painted((red, green, blue), is_hatched), share))
    return found


def colours_by_name(picture: MapPicture, theme: Theme) -> dict[str, Painted]:
    """Return the colour of each name that the legend has, and whether it is hatched."""
    colours = theme.of_tones(ordered=picture.ordered, changes=picture.changes)
    return {
        name: Painted(colours[line.look], line.look >= HATCHED)
        for line in picture.legend
        if line.look is not None and line.look != EMPTY
        for name in re.sub("^(free|other): ", "", line.cells[0]).split(", ")
    }
