# SPDX-License-Identifier: GPL-2.0-only
"""Writes the page: one HTML file with its style, script and data, which loads nothing."""

import base64
import hashlib
import re
from functools import partial
from pathlib import Path
from typing import Any

from ..host.extras import load_library
from ..picture.classes import CODES, HATCHED
from .colours import CLASSES, style_variables

_PARTS = Path(__file__).parent / "parts"
_SCRIPTS = ("format", "unpack", "tables", "treemap", "memory", "map", "main")
"""In the order of their imports. Their names are in one scope of the page."""
_STYLES = ("style", "pictures", "print")
_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)
_EXPORT = re.compile(r"^export ", re.MULTILINE)
_COMMENT = re.compile(r"^ *// .*\n", re.MULTILINE)
_TEMPLATE = "page.html"

library = partial(load_library, "jinja2", "report")


def render_page(values: dict[str, Any]) -> str:
    """Return the page. Values are texts, which are escaped; raises PageInspectError.

    Raises it if jinja2 is not installed. The style and the script are named by their hashes in the
    page's policy, so that a browser runs nothing else.
    """
    jinja2 = library()
    loader = jinja2.FileSystemLoader(_PARTS)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    style, script = render_style(), _script()
    return environment.get_template(_TEMPLATE).render(
        **values,
        style=_verbatim(jinja2, style),
        script=_verbatim(jinja2, script),
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


def _verbatim(jinja2: Any, text: str) -> Any:
    """Return a text of the package's own as HTML."""
    return jinja2.utils.markupsafe.Markup(text)


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def render_style() -> str:
    """Return the CSS of the page."""
    fills = [f".f{i}{{background:var(--c{i});fill:var(--c{i})}}" for i in range(CODES)]
    ramp = [f".o{i}{{background:var(--o{i})}}" for i in range(CODES)]
    lines = "repeating-linear-gradient(transparent 0 3px,var(--surface) 3px 4px)"
    edge = "background-repeat:no-repeat;background-position:bottom;background-size:100% 16px"
    fills += [
        f".swatch.f{i},.tile.f{i}{{background-image:{lines}}}.tile.f{i}{{{edge}}}"
        for i in range(HATCHED, CODES)
    ]
    own = (_part(f"{name}.css") for name in _STYLES)
    return "\n".join((style_variables(), *own, *fills, *ramp, *_inks()))


def _part(name: str) -> str:
    return (_PARTS / name).read_text(encoding="utf-8")


def _inks() -> list[str]:
    """Return CSS for text on the colours of classes: black or white, what has more contrast."""
    rules = []
    for theme, before, after in (
        ("light", "", ""),
        ("dark", "@media (prefers-color-scheme:dark){:root:not(.printed) ", "}"),
        ("light", "@media print{", "}"),
    ):
        rules += [
            f"{before}.tile.f{code}{{color:{ink_on(colour)}}}{after}"
            for code, colour in enumerate(CLASSES[theme])
        ]
    return rules


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour of six digits, as WCAG defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def ink_on(colour: str) -> str:
    """Return black or white, what has more contrast on a colour."""
    return "#000" if luminance(colour) > 0.179 else "#fff"


def _script() -> str:
    """Return the modules as one script."""
    texts = [_part(f"{name}.js") for name in _SCRIPTS]
    plain = [_COMMENT.sub("", _EXPORT.sub("", _IMPORT.sub("", text))) for text in texts]
    return '"use strict";\n(() => {\n' + "".join(plain) + "})();\n"
