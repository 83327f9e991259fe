# SPDX-License-Identifier: GPL-2.0-only
"""The slope of resident memory: 200 bytes a reading are seen, noise and one step are not."""

import random

import pytest
from slope import Slope

PAGE = 4096
READINGS = 1500


def pages(each: float) -> list[float]:
    """Return resident memory that grows by so many bytes at each reading, in whole pages."""
    return [5000 * PAGE + int(n * each) // PAGE * PAGE for n in range(READINGS)]


@pytest.mark.parametrize("each", [100, 200, 4096])
def test_steady_growth_is_a_slope(each: int) -> None:
    slope = Slope.of(pages(each))
    assert not slope.is_flat
    assert slope.growth == pytest.approx(each, rel=0.05)


def test_memory_that_stays_is_flat() -> None:
    assert Slope.of([20 << 20] * READINGS).is_flat


def test_what_is_taken_and_given_back_is_flat() -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    assert Slope.of([(chance.randrange(40) + 5000) * PAGE for _ in range(READINGS)]).is_flat


def test_one_step_is_flat_and_a_warm_up_does_not_count() -> None:
    assert Slope.of([0] * 1000 + [1 << 20] * 500).is_flat
    warm = [n * 65536 for n in range(READINGS // 4)]
    assert Slope.of([*warm, *[warm[-1]] * (READINGS - len(warm))]) == Slope(0, 0)
