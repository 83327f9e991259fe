# SPDX-License-Identifier: GPL-2.0-only
"""Colours can be told apart, also by people who see no red or green.

Distances are CIE76 in CIE Lab of sRGB with the white point D65. Deuteranopia and protanopia are the
matrices of Machado, Oliveira and Fernandes (2009) at severity 1, on linear RGB.
"""

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest

from pageinspect.picture.cells import NOTHING, Cells
from pageinspect.picture.classes import CODES, FREE, HUES, OTHER, UNREADABLE
from pageinspect.picture.colours import EMPTY, THEMES, Theme, looks_of

XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
WHITE = np.array([0.95047, 1.0, 1.08883])
SIGHT = {
    "normal": np.eye(3),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
}


def linear(colour: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    c = np.array(colour) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(colour: tuple[int, int, int], sight: str) -> npt.NDArray[np.float64]:
    seen = np.clip(SIGHT[sight] @ linear(colour), 0, 1)
    t = XYZ @ seen / WHITE
    f = np.where(t > 216 / 24389, np.cbrt(t), (24389 / 27 * t + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def distance(one: tuple[int, int, int], other: tuple[int, int, int], sight: str) -> float:
    return float(np.linalg.norm(lab(one, sight) - lab(other, sight)))


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """Return the contrast of WCAG."""
    light, dark = sorted((float(XYZ[1] @ linear(c)) for c in (one, other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_measure_knows_what_people_confuse() -> None:
    red, green = (200, 80, 60), (120, 130, 50)
    assert distance(red, green, "normal") > 50
    assert distance(red, green, "deuteranopia") < 0.5 * distance(red, green, "normal")
    assert distance((255, 255, 255), (0, 0, 0), "normal") == pytest.approx(100, abs=0.1)


@pytest.fixture(params=list(THEMES))
def theme(request: pytest.FixtureRequest) -> Theme:
    return THEMES[request.param]


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize(("ordered", "least"), [(False, 20), (True, 10)])
def test_colours_of_classes_differ(theme: Theme, sight: str, ordered: bool, least: float) -> None:
    colours = theme.of_classes(ordered=ordered)
    assert len({*colours}) == CODES
    assert HUES + 1 <= 10
    # Classes that have an order are never other or free.
    own = [*range(HUES)] if ordered else [*range(HUES), OTHER]
    for one, other in combinations((*own, UNREADABLE), 2):
        assert distance(colours[one], colours[other], sight) >= least, (one, other)
    for code in (*own, UNREADABLE):
        assert distance(colours[code], theme.background, sight) >= least, code
        assert ordered or distance(colours[code], colours[FREE], sight) >= least, code
    # Free memory is near the background, and differs from it.
    assert 8 <= distance(colours[FREE], theme.background, sight) <= 25


@pytest.mark.parametrize("sight", ["normal", "deuteranopia"])
def test_a_pale_colour_is_not_the_full_one_of_another_class(theme: Theme, sight: str) -> None:
    colours = theme.of_looks(ordered=False)
    assert colours[EMPTY] == theme.background
    for code in (*range(HUES), OTHER):
        pale = colours[code + CODES]
        for other in range(CODES):
            if (code, other) != (OTHER, FREE):
                assert distance(pale, colours[other], sight) >= 10, (code, other)
        nearest = min(range(HUES), key=lambda c: distance(pale, colours[c + CODES], sight))
        assert code in (nearest, OTHER)


def test_text_has_the_contrast_of_wcag(theme: Theme) -> None:
    assert contrast(theme.ink, theme.background) >= 7
    assert contrast(theme.faint, theme.background) >= 4.5


def test_looks_are_full_from_90_percent_on() -> None:
    cells = Cells(
        np.array([0, 0, 3, FREE, NOTHING], np.uint8),
        np.array([1, 0.91, 0.5, 0.89, 0], np.float32),
        np.array([8, 8, 8, 8, 0], np.int32),
    )
    assert looks_of(cells).tolist() == [0, 0, 3 + CODES, FREE + CODES, EMPTY]
    changed = np.array([True, False, True, False, True])
    assert looks_of(cells, changed).tolist() == [0, CODES, 3, FREE + CODES, EMPTY]
