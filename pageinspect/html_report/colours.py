# SPDX-License-Identifier: GPL-2.0-only
"""The colours of the page in its light and dark theme, and which use or kind of owner has which.

The hues differ for people who see no red or green as well. Text has a contrast of 4.5 to 1 to
what is below it, as WCAG AA asks for.
"""

from collections.abc import Mapping, Sequence

HUES = 8
"""Codes of classes below are colours of their own."""
OTHER, FREE, UNREADABLE = range(HUES, HUES + 3)
CODES = HUES + 3

_SHARED: Mapping[str, int] = {"anon": 0, "file": 1, "slab": 2, "hugetlb": 3, "shmem": 5, "table": 6}
_PLACES: Mapping[str, Mapping[str, int]] = {
    "use": {**_SHARED, "buddy": FREE, "pcp": FREE, "reserved": 4, "kernel": 7},
    "kind": {**_SHARED, "free": FREE, "memmap": 4, "kernel": 7},
}
"""Colours that a name always has, if it is one of the largest."""
ORDERS = ((0, "0"), (1, "1"), (2, "2"), (3, "3"), (4, "4-6"), (7, "7-8"), (9, "9"), (10, "10+"))
"""The least order of each class, and its name."""

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

_VIRIDIS = ["440154", "46327e", "365c8d", "277f8e", "1fa187", "4ac16d", "a0da39", "fde725"]
CLASSES: Mapping[str, Sequence[str]] = {
    "light": [
        "1f79a3",
        "efa71f",
        "57543a",
        "35b35d",
        "530098",
        "71b7fd",
        "fffc0c",
        "ce451c",
        "8a8a8a",
        "d5dbe2",
        "000000",
    ],
    "dark": [
        "40a9ff",
        "d8b343",
        "af1a19",
        "35e391",
        "9534fe",
        "accaef",
        "fffe47",
        "c731b3",
        "9a9a9a",
        "3a424c",
        "ffffff",
    ],
}
"""The colour of each code, (CODES,)."""
RAMPS: Mapping[str, Sequence[str]] = {"light": _VIRIDIS, "dark": _VIRIDIS[::-1]}
"""Colours of orders, small ones first."""


def codes_of(by: str, pages: Mapping[str, int]) -> dict[str, int]:
    """Return the code of each use or kind (`by`: use, kind); the largest have their own."""
    places = _PLACES[by]
    found = {name: FREE for name in pages if places.get(name) == FREE}
    found |= {name: UNREADABLE for name in pages if name == "unreadable"}
    own = [name for name in sorted(pages, key=lambda n: -pages[n]) if name not in found]
    largest = own[:HUES]
    found |= {name: places[name] for name in largest if name in places}
    left = [code for code in range(HUES) if code not in found.values()]
    unplaced = (name for name in largest if name not in found)
    found |= dict(zip(unplaced, left, strict=False))
    return found | dict.fromkeys(own[HUES:], OTHER)


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
        **{f"c{i}": f"#{text}" for i, text in enumerate(CLASSES[theme])},
        **{f"o{i}": f"#{text}" for i, text in enumerate(RAMPS[theme])},
    }
    return "".join(f"--{name}:{value};" for name, value in pairs.items())
