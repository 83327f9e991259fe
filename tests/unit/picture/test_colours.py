# SPDX-License-Identifier: GPL-2.0-only
"""Colours differ, also for people who see no red or green.

Distances are CIE76 and CIEDE2000 in CIE Lab of sRGB with the white point D65. Deuteranopia and
protanopia are the matrices of Machado, Oliveira and Fernandes (2009) at severity 1, on linear RGB.
"""

from collections.abc import Sequence
from itertools import combinations
from math import atan2, cos, degrees, exp, hypot, radians, sin, sqrt

import numpy as np
import numpy.typing as npt
import pytest

from pageinspect.picture.cells import NOTHING, Cells
from pageinspect.picture.classes import CODES, FREE, HUES, ORDERS, OTHER, UNREADABLE
from pageinspect.picture.colours import EMPTY, STEPS, THEMES, Theme, looks_of, tone_of

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


def ciede2000(one: tuple[int, int, int], other: tuple[int, int, int], sight: str) -> float:
    return ciede2000_of(lab(one, sight).tolist(), lab(other, sight).tolist())


def ciede2000_of(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the distance of two colours of CIE Lab by Sharma, Wu and Dalal (2005)."""
    chroma = (hypot(*one[1:]) + hypot(*other[1:])) / 2
    more = 1.5 - 0.5 * sqrt(chroma**7 / (chroma**7 + 25**7))
    (l1, c1, h1), (l2, c2, h2) = (
        (light, hypot(a * more, b), degrees(atan2(b, a * more)) % 360)
        for light, a, b in (one, other)
    )
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0
    light, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    hue = radians((h1 + turn / 2) % 360 if c1 * c2 else h1 + h2)
    weight = (
        1
        - 0.17 * cos(hue - radians(30))
        + 0.24 * cos(2 * hue)
        + 0.32 * cos(3 * hue + radians(6))
        - 0.2 * cos(4 * hue - radians(63))
    )
    parts = (
        (l2 - l1) / (1 + 0.015 * (light - 50) ** 2 / sqrt(20 + (light - 50) ** 2)),
        (c2 - c1) / (1 + 0.045 * chroma),
        2 * sqrt(c1 * c2) * sin(radians(turn / 2)) / (1 + 0.015 * chroma * weight),
    )
    bend = sin(2 * radians(30) * exp(-(((degrees(hue) - 275) / 25) ** 2)))
    rotation = -2 * sqrt(chroma**7 / (chroma**7 + 25**7)) * bend
    return sqrt(sum(part**2 for part in parts) + rotation * parts[1] * parts[2])


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
@pytest.mark.parametrize("changes", [False, True])
@pytest.mark.parametrize("ordered", [False, True])
def test_all_colours_that_can_stand_side_by_side_differ(
    theme: Theme, ordered: bool, changes: bool, sight: str
) -> None:
    """Full and pale ones, free, other and unreadable memory, and background: no struct page."""
    tones = theme.of_tones(ordered=ordered, changes=changes)
    hues = range(len(ORDERS) if ordered else HUES)
    full = [*hues, OTHER, UNREADABLE]
    # A pale one of unreadable pages is the full one.
    every = [*full, FREE, *(code + CODES for code in (*hues, OTHER, FREE)), 2 * CODES]
    assert len(every) == len({tones[code] for code in every})
    assert tones[2 * CODES] == theme.background
    for one, other in combinations(every, 2):
        both_full = {one, other} <= {*full}
        ends = tones[one], tones[other]
        assert distance(*ends, sight) >= (18 if both_full else 10), (one, other)
        assert ciede2000(*ends, sight) >= (10 if both_full else 6), (one, other)


def test_free_memory_is_near_the_background(theme: Theme) -> None:
    free, mixed = (distance(c, theme.background, "normal") for c in (theme.free, theme.mixed_free))
    assert free < mixed
    assert free <= 20
    # What is unreadable stands out most.
    assert contrast(theme.unreadable, theme.background) >= 15


@pytest.mark.parametrize("ordered", [False, True])
def test_a_pale_colour_is_nearest_to_the_full_one_of_its_class(theme: Theme, ordered: bool) -> None:
    tones = theme.of_tones(ordered=ordered, changes=False)
    hues = range(len(ORDERS) if ordered else HUES)
    for code in hues:
        angles = [
            np.degrees(np.arctan2(*lab(tones[c], "normal")[:0:-1])) for c in (code, code + CODES)
        ]
        assert abs((angles[0] - angles[1] + 180) % 360 - 180) <= 30, code


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        # Of the data of Sharma, Wu and Dalal (2005), table 1.
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, -1, 2), (50, 0, 0), 2.3669),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.135), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_formula_of_ciede2000(
    one: tuple[float, ...], other: tuple[float, ...], expected: float
) -> None:
    assert ciede2000_of(one, other) == pytest.approx(expected, abs=1e-4)


def test_text_has_the_contrast_of_wcag(theme: Theme) -> None:
    assert contrast(theme.ink, theme.background) >= 7
    assert contrast(theme.faint, theme.background) >= 4.5


def test_looks_are_as_full_as_cells_are_of_one_class() -> None:
    cells = Cells(
        np.array([0, 0, 3, FREE, NOTHING], np.uint8),
        np.array([1, 0.91, 0.5, 0.49, 0], np.float32),
        np.array([8, 8, 8, 8, 0], np.int32),
    )
    assert looks_of(cells).tolist() == [0, 0, 3 + CODES, FREE + 2 * CODES, EMPTY]
    assert looks_of(cells, np.array([0.5, 0.499, 0.1, 0.002, 0], np.float32)).tolist() == [
        0, CODES, 3 + CODES, FREE + 2 * CODES, EMPTY,
    ]  # fmt: skip
    assert looks_of(cells, np.zeros(5, np.float32)).tolist()[0] == 3 * CODES


def test_cells_without_room_for_two_colours_have_one() -> None:
    # What half of it is not of one class is pale; what changed by a tenth is full.
    steps = [3 + step * CODES for step in range(STEPS)]
    assert [tone_of(look, changes=False) for look in steps[:3]] == [3, 3 + CODES, 3 + CODES]
    assert [tone_of(look, changes=True) for look in steps] == [3, 3, 3 + CODES, 3 + CODES]
