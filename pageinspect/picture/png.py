# SPDX-License-Identifier: GPL-2.0-only
"""Writes a scene as PNG, with Pillow."""

from functools import cache
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..host.extras import load_library
from .colours import EMPTY
from .drawing import Box, Caption, Scene

_SHARE = {"start": 0.0, "middle": 0.5, "end": 1.0}
"""The part of a text that is to the left of its place."""


def library() -> Any:
    """Return Pillow. Raises PageInspectError if it is not installed."""
    return load_library("PIL", "report")


def write_png(scene: Scene, stream: IO[bytes]) -> None:
    """Draw a scene. Raises PageInspectError without Pillow."""
    library()
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (scene.width, scene.height), scene.theme.background)
    pencil = ImageDraw.Draw(image)
    for box in scene.boxes:
        _draw(pencil, box)
    for tiles in scene.tiles:
        rows = _colours(scene, tiles.height)
        for i in range(len(tiles.looks)) if tiles.pitch > tiles.height else (slice(None),):
            looks = np.atleast_2d(tiles.looks[i])
            # (height, rows, columns, 3): the rows of pixels of a cell are beside each other.
            cells = np.moveaxis(rows[:, looks], 0, 1).reshape(-1, looks.shape[1], 3)
            top = tiles.y + (i * tiles.pitch if isinstance(i, int) else 0)
            image.paste(Image.fromarray(cells.repeat(tiles.width, axis=1)), (tiles.x, top))
    for box in scene.borders:
        _draw(pencil, box)
    for caption in scene.captions:
        _write(pencil, caption)
    image.save(stream, "PNG", optimize=True)


def _colours(scene: Scene, height: int) -> npt.NDArray[np.uint8]:
    """Return the colour of each row of pixels of cells with each look, (height, looks, 3)."""
    found = np.empty((height, EMPTY + 1, 3), np.uint8)
    for look in range(EMPTY + 1):
        for top, n, colour in scene.bands(look, height):
            found[top : top + n, look] = colour
    return found


def _draw(pencil: Any, box: Box) -> None:
    corners = (box.x, box.y, box.x + box.width - 1, box.y + box.height - 1)
    fill, outline = (None, box.colour) if box.outlined else (box.colour, None)
    pencil.rectangle(corners, fill, outline)


def _write(pencil: Any, caption: Caption) -> None:
    font = _font(caption.size)
    # The font has Latin letters alone.
    text = caption.text.encode("latin-1", "backslashreplace").decode("latin-1")
    left = caption.x - round(_SHARE[caption.anchor] * pencil.textlength(text, font))
    ascent = font.getmetrics()[0] if hasattr(font, "getmetrics") else caption.size
    pencil.text((left, caption.y - ascent), text, caption.colour, font)


@cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
