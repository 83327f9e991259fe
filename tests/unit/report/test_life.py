# SPDX-License-Identifier: GPL-2.0-only
"""The lives of pages as text and as rows."""

import io
import json

import pytest
from lives_by_hand import life

from pageinspect.render import render
from pageinspect.report.life import LifeReport, NowPage
from pageinspect.trace.life_records import LifeLost


def text(of: LifeReport, form: str = "table") -> str:
    stream = io.StringIO()
    render(of, form, stream)
    return stream.getvalue()


def test_events_are_in_order_with_details_and_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    now = (NowPage(0x40, "buddy", "free"),)
    shown = " ".join(text(life(now=now)).split())
    assert "The life of 8 pages in 1.50 s: pfn 0x40-0x48." in shown
    parts = (
        "0.000001 0x40 allocated order 3, GFP_KERNEL, unmovable 1 42 sh\\x1b take [lives]",
        "0.000002 0x41 added to the page cache page 3 of inode 1099511627776 on 8:1",
        "[stack lost]",
        "0.000003 0x40 freed order 3, type table",
        "give [lives]",
        "Now: pfn use owner",
        "0x40 buddy free",
        "This kernel lacks: ksm_merge_one_page.",
        "Never seen: splits of folios.",
    )
    places = [shown.find(part) for part in parts]
    assert -1 not in places, (parts[places.index(-1)], shown)
    assert "Lost" not in shown


def test_stacks_are_below_the_event_if_requested() -> None:
    assert "write" not in text(life())
    assert "write" in text(life(stacks=True))


def test_what_is_lost_has_its_reasons() -> None:
    shown = " ".join(text(life(lost=LifeLost(missed=2, unkept=5))).split())
    assert "Lost: 2 events while the tracer's own" in shown
    assert "5 events, because there were too many: watch fewer pages. The life" in shown
    assert "The life may have gaps." in shown
    assert "gaps" not in text(life(lost=LifeLost(stacks=3)))


@pytest.mark.parametrize("now", [(NowPage(0x40, "buddy", ""),), ()])
@pytest.mark.parametrize("form", ["table", "markdown"])
def test_a_life_without_events_says_so_first(now: tuple[NowPage, ...], form: str) -> None:
    shown = text(life(now=now, quiet=True), form)
    assert "seconds" not in shown
    assert "\n\n\n" not in shown
    nothing = shown.index("No tracepoint reported anything about these pages.")
    if now:
        assert nothing < shown.index("Now:") < shown.index("buddy")
    assert nothing < shown.index("Never seen")


def test_a_free_page_has_no_owner_now() -> None:
    """The use and the owner of a page are read at different moments."""
    for use, owner in (("buddy", ""), ("pcp", ""), ("anon", "anon:python3[645]")):
        found = NowPage.of(0x40, {"use": use, "owner": "anon:python3[645]", "lru": "yes"})
        assert found == (0x40, use, owner)
    assert NowPage.of(0x40, {}) == (0x40, "", "")


def test_the_document_has_the_same() -> None:
    found = json.loads(text(life(now=(NowPage(0x40, "buddy", ""),), lost=LifeLost(1)), "json"))
    assert found["filters"] == {"pfn": [[0x40, 0x48]]}
    assert found["lost"] == 1
    assert found["lost_by"] == {"missed": 1, "stacks": 0, "events": 0, "unkept": 0}
    assert found["tracepoints"] == ["mm_page_alloc", "mm_page_free"]
    assert found["lacking"] == ["ksm_merge_one_page"]
    assert found["now"] == [{"pfn": 0x40, "use": "buddy", "owner": ""}]
    allocated, cached, freed = found["events"]
    assert allocated["gfp"] == 0xCC0
    assert allocated["type"] is None
    assert allocated["frames"] == ["__alloc_frozen_pages_noprof", "take [lives]"]
    assert (cached["device"], cached["inode"], cached["index"]) == ("8:1", 1 << 40, 3)
    assert (freed["type"], freed["pages"], freed["caller"]) == ("table", 8, "give [lives]")
    rows = [json.loads(line) for line in text(life(), "jsonl").splitlines()]
    assert [row["event"] for row in rows] == ["allocated", "added to the page cache", "freed"]
