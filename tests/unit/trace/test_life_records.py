# SPDX-License-Identifier: GPL-2.0-only
"""Records of the lives of pages, in their plain form."""

import pytest
from lives_by_hand import RECORDS, START_NS, STILL_TABLE, UNSET, events, packed
from synthetic import MODERN

from pageinspect.trace.life_records import (
    POINTS,
    File,
    LifeEvent,
    LifeLost,
    LifePoint,
    life_events_of,
)


def test_an_allocation_a_page_of_a_file_and_a_free() -> None:
    assert len(RECORDS) == 3
    assert events() == (
        LifeEvent(1_000, "allocated", 0x40, 8, 0xCC0, 0, UNSET, None, 7, 42, 1, "sh\x1b"),
        LifeEvent(
            *(2_000, "added to the page cache", 0x41, 1, None, None, None),
            *(File(8 << 20 | 1, 1 << 40, 3), -1, 42, 1, "sh\x1b"),
        ),
        LifeEvent(3_000, "freed", 0x40, 8, None, None, STILL_TABLE, None, 8, 42, 1, "sh\x1b"),
    )


@pytest.mark.parametrize("point", POINTS, ids=lambda point: point.tracepoint)
def test_every_tracepoint_has_its_event(point: LifePoint) -> None:
    (event,) = life_events_of(MODERN, [packed(point.tracepoint, 5, 3)], START_NS)
    assert (event.what, event.pfn, event.pages) == (point.event, 5, 3)
    assert (event.file is None) == ("filemap" not in point.tracepoint)


def test_what_is_lost_is_since_the_last_reading() -> None:
    lost = LifeLost(4, 3, 2, 1) - LifeLost(1, 1, 1, 1)
    assert lost == LifeLost(3, 2, 1, 0)
    assert lost.total == 6
