# SPDX-License-Identifier: GPL-2.0-only
"""The colours of the page: contrast of text, and which name has which colour."""

import re

import pytest

from pageinspect.html_report.colours import CLASSES, PALE_RAMPS, PALES, RAMPS, TEXTS, THEMES
from pageinspect.html_report.page import ink_on, render_style
from pageinspect.picture import colours as picture
from pageinspect.picture.classes import CODES, HATCHED, ORDERS

AA = 4.5


def luminance(colour: str) -> float:
    """Return the relative luminance, by the definition of WCAG 2."""
    digits = colour.lstrip("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    linear = []
    for i in (0, 2, 4):
        value = int(digits[i : i + 2], 16) / 255
        linear.append(value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4)
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_contrast_of_wcag() -> None:
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    # The greys of the understanding document of success criterion 1.4.3.
    assert contrast("#767676", "#fff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize("theme", THEMES)
def test_text_has_the_contrast_of_aa(theme: str) -> None:
    for text in TEXTS:
        for below in ("background", "surface"):
            assert contrast(THEMES[theme][text], THEMES[theme][below]) >= AA, (text, below)
    for colour in CLASSES[theme]:
        assert contrast(ink_on(colour), colour) >= AA, colour


def test_every_class_has_a_colour_in_each_theme() -> None:
    for theme in THEMES:
        assert len(CLASSES[theme]) == CODES
        assert len(set(CLASSES[theme])) == HATCHED
        assert len({*RAMPS[theme][: len(ORDERS)]}) == len(ORDERS)


def test_every_variable_of_the_style_is_declared() -> None:
    style = render_style()
    used = set(re.findall(r"var\(--([\w-]+)\)", style))
    # Light, dark, and paper.
    blocks = [set(re.findall(r"--([\w-]+):", block)) for block in style.splitlines()[:3]]
    assert blocks[0] == blocks[1] == blocks[2]
    assert used <= blocks[0]
    assert used


def test_uses_and_kinds_have_the_colours_of_maps() -> None:
    for name, theme in picture.THEMES.items():
        for ordered, classes, pales in ((False, CLASSES, PALES), (True, RAMPS, PALE_RAMPS)):
            tones = theme.of_tones(ordered=ordered, changes=False)
            found = [*classes[name], *pales[name]]
            assert found == [f"{r:02x}{g:02x}{b:02x}" for r, g, b in tones[:-1]]
