# SPDX-License-Identifier: GPL-2.0-only
"""Writes a scene as SVG without script, and as a page of HTML around it."""

from collections.abc import Iterator
from html import escape

import numpy as np

from .colours import EMPTY, Colour
from .drawing import Box, Scene, Tiles

_FONT = "system-ui, sans-serif"


def svg_lines(scene: Scene) -> Iterator[str]:
    """Yield the lines of an SVG image, which is a document of its own or a part of HTML."""
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-labelledby="title desc" '
        f'width="{scene.width}" height="{scene.height}" '
        f'viewBox="0 0 {scene.width} {scene.height}" font-family="{_FONT}">\n'
    )
    yield f'<title id="title">{escape(scene.title)}</title>\n'
    yield f'<desc id="desc">{escape(scene.description)}</desc>\n'
    yield _rect(0, 0, scene.width, scene.height, scene.theme.background)
    yield '<g shape-rendering="crispEdges">\n'
    yield from map(_box, scene.boxes)
    yield "</g>\n"
    for tiles in scene.tiles:
        yield from _tiles(tiles, scene)
    if scene.borders:
        yield '<g class="borders" shape-rendering="crispEdges">\n'
        yield from map(_box, scene.borders)
        yield "</g>\n"
    for caption in scene.captions:
        anchor = "" if caption.anchor == "start" else f' text-anchor="{caption.anchor}"'
        yield (
            f'<text x="{caption.x}" y="{caption.y}" font-size="{caption.size}" '
            f'fill="{_hex(caption.colour)}"{anchor}>{escape(caption.text)}</text>\n'
        )
    yield "</svg>\n"


def html_lines(scene: Scene) -> Iterator[str]:
    """Yield the lines of a page with the image."""
    title, background = escape(scene.title), _hex(scene.theme.background)
    yield '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
    yield '<meta name="viewport" content="width=device-width">\n'
    yield f"<title>{title}</title>\n<style>body {{ margin: 0; background: {background} }} "
    yield "svg { display: block; max-width: 100%; height: auto }</style>\n</head>\n<body>\n"
    yield from svg_lines(scene)
    yield "</body>\n</html>\n"


def _tiles(tiles: Tiles, scene: Scene) -> Iterator[str]:
    """Yield a group for each look: cells of one look beside each other are one rectangle."""
    yield '<g class="cells" shape-rendering="crispEdges">\n'
    rows, columns = tiles.looks.shape
    begins = np.ones((rows, columns), np.bool_)
    begins[:, 1:] = tiles.looks[:, 1:] != tiles.looks[:, :-1]
    at = np.flatnonzero(begins)
    looks = tiles.looks.reshape(-1)[at]
    lengths = np.diff(at, append=rows * columns)
    for look in np.unique(looks).tolist():
        if look == EMPTY:
            continue
        chosen = looks == look
        for below, height, colour in scene.bands(look, tiles.height):
            yield f'<g fill="{_hex(colour)}">\n'
            for place, n in zip(at[chosen].tolist(), lengths[chosen].tolist(), strict=True):
                row, column = divmod(place, columns)
                x, y = tiles.x + column * tiles.width, tiles.y + row * tiles.pitch + below
                yield f'<rect x="{x}" y="{y}" width="{n * tiles.width}" height="{height}"/>\n'
            yield "</g>\n"
    yield "</g>\n"


def _box(box: Box) -> str:
    if not box.outlined:
        return _rect(box.x, box.y, box.width, box.height, box.colour)
    return (
        f'<rect x="{box.x + 0.5}" y="{box.y + 0.5}" width="{box.width - 1}" '
        f'height="{box.height - 1}" fill="none" stroke="{_hex(box.colour)}"/>\n'
    )


def _rect(x: int, y: int, width: int, height: int, colour: Colour) -> str:
    return f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{_hex(colour)}"/>\n'


def _hex(colour: Colour) -> str:
    red, green, blue = colour
    return f"#{red:02x}{green:02x}{blue:02x}"
