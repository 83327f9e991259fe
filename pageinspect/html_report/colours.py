# SPDX-License-Identifier: GPL-2.0-only
"""The colours of the page in its light and dark theme; uses and kinds of owner have those of maps.

The hues differ for people who see no red or green as well. Text has a contrast of 4.5 to 1 to
what is below it, as WCAG AA asks for.
"""

from collections.abc import Mapping, Sequence

from ..picture import colours as picture

THEMES: Mapping[str, Mapping[str, str]] = {
    "light": {
        "background": "#f4f6f8",
        "surface": "#ffffff",
        "ink": "#1c2126",
        "faint": "#545e68",
        "line": "#d3dae1",
        "accent": "#0b5c99",
        "good": "#17663a",
        "fair": "#7a4b00",
        "bad": "#a81c1c",
        "hole": "#ffffff",
    },
    "dark": {
        "background": "#0f1216",
        "surface": "#1a1f26",
        "ink": "#e8ecf0",
        "faint": "#a3adb7",
        "line": "#36404b",
        "accent": "#7cc0ff",
        "good": "#6fd69a",
        "fair": "#f0bf5b",
        "bad": "#ff8f8f",
        "hole": "#1a1f26",
    },
}
TEXTS = ("ink", "faint", "accent", "good", "fair", "bad")
"""Colours of text, on the background and on surfaces."""


def _digits(colours: Sequence[picture.Colour]) -> list[str]:
    return ["".join(f"{part:02x}" for part in colour) for colour in colours]


CLASSES: Mapping[str, Sequence[str]] = {
    name: _digits(theme.of_classes(ordered=False)) for name, theme in picture.THEMES.items()
}
"""The colour of each code of a class, (CODES,), as six digits; the same as in maps."""
RAMPS: Mapping[str, Sequence[str]] = {
    name: _digits(theme.of_classes(ordered=True)) for name, theme in picture.THEMES.items()
}
"""The same for orders, small ones first."""
PALES: Mapping[str, Sequence[str]] = {
    name: _digits(theme.of_pale(ordered=False)) for name, theme in picture.THEMES.items()
}
"""The pale colour of each code of a class, (CODES,)."""
PALE_RAMPS: Mapping[str, Sequence[str]] = {
    name: _digits(theme.of_pale(ordered=True)) for name, theme in picture.THEMES.items()
}
"""The same for orders."""
_VARIABLES = {"c": CLASSES, "o": RAMPS, "p": PALES, "q": PALE_RAMPS}


def style_variables() -> str:
    """Return CSS that declares the colours of both themes as variables."""
    light, dark = (_variables(name) for name in ("light", "dark"))
    return (
        f":root{{color-scheme:light dark;{light}}}\n"
        f"@media (prefers-color-scheme:dark){{:root:not(.printed){{{dark}}}}}\n"
        f"@media print{{:root{{color-scheme:light;{light}}}}}\n"
    )


def _variables(theme: str) -> str:
    pairs = {
        **THEMES[theme],
        **{
            f"{name}{i}": f"#{text}"
            for name, colours in _VARIABLES.items()
            for i, text in enumerate(colours[theme])
        },
    }
    return "".join(f"--{name}:{value};" for name, value in pairs.items())
