# SPDX-License-Identifier: GPL-2.0-only
"""Writes a scene as PNG, with Pillow."""

from functools import cache
from typing import IO, Any

import numpy as np

from ..host.extras import load_library
from .scene import Caption, Scene

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
        corners = (box.x, box.y, box.x + box.width - 1, box.y + box.height - 1)
        fill, outline = (None, box.colour) if box.outlined else (box.colour, None)
        pencil.rectangle(corners, fill, outline)
    colours = np.array(scene.colours, np.uint8)
    for tiles in scene.tiles:
        for i in range(len(tiles.looks)) if tiles.pitch > tiles.height else (slice(None),):
            looks = np.atleast_2d(tiles.looks[i])
            large = looks.repeat(tiles.height, axis=0).repeat(tiles.width, axis=1)
            top = tiles.y + (i * tiles.pitch if isinstance(i, int) else 0)
            image.paste(Image.fromarray(colours[large]), (tiles.x, top))
    for caption in scene.captions:
        _write(pencil, caption)
    image.save(stream, "PNG", optimize=True)


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
