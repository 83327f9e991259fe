# SPDX-License-Identifier: GPL-2.0-only
"""The interval that keeps the share of a processor."""

import pytest

from pageinspect.screen.pace import SHARE, Pace


def test_a_cheap_reading_keeps_the_interval() -> None:
    pace = Pace(2.0)
    pace.note(0.1, 0.1, first=False)
    assert pace.period == 2.0
    assert pace.describe() == "every 2 s"


@pytest.mark.parametrize("cost", [0.3, 1.0, 20.0])
def test_an_expensive_one_stays_within_the_share(cost: float) -> None:
    pace = Pace(2.0)
    pace.note(cost, cost, first=False)
    assert cost / pace.period <= SHARE
    assert cost / pace.period > SHARE / 2
    assert "(not 2 s: CPU)" in pace.describe()
    pace.note(0.1, 0.1, first=False)
    assert pace.period == 2.0


def test_the_first_one_may_cost_more() -> None:
    pace = Pace(2.0)
    pace.note(3.0, 1.5, first=True)
    assert pace.period == 2.0


def test_a_slow_disk_is_not_read_again_at_once() -> None:
    pace = Pace(2.0)
    pace.note(0.1, 9.5, first=False)
    assert pace.describe() == "every 9.5 s (not 2 s: CPU)"
