# SPDX-License-Identifier: GPL-2.0-only
"""Pages in classes: the largest have colours of their own."""

import pytest
from compared_snapshots import snapshot
from drawn_memory import RUNS, each, memory

from pageinspect.cli.commands import map as command
from pageinspect.errors import PageInspectError
from pageinspect.picture.classes import (
    BY,
    FREE,
    HUES,
    OTHER,
    UNREADABLE,
    classified,
)


def test_the_command_offers_what_there_is() -> None:
    assert command._BY == BY


def test_classes_by_use_have_all_pages() -> None:
    found = classified([memory()], "use")
    pages = {name: 0 for _, _, name, _ in RUNS}
    for _, use in each():
        pages[use] += 1
    codes = {c.names: c.code for c in found.classes}
    assert codes[("buddy", "pcp")] == FREE
    assert codes[("unreadable",)] == UNREADABLE
    assert {c.names: c.pages for c in found.classes} == {
        ("buddy", "pcp"): (pages["buddy"] + pages["pcp"],),
        **{(name,): (n,) for name, n in pages.items() if name not in ("buddy", "pcp")},
    }
    # The largest first; then what has no hue.
    assert [c.names[0] for c in found.classes] == [
        "anon", "slab", "file", "reserved", "buddy", "unreadable",
    ]  # fmt: skip


def test_by_owner_pages_have_the_kind_of_their_owner() -> None:
    found = classified([memory()], "owner")
    names = {name for c in found.classes for name in c.names}
    assert names == {"boot", "anon", "file", "free", "slab", "unreadable"}
    assert {c.names: c.code for c in found.classes}[("free",)] == FREE


def test_at_most_eight_names_have_a_colour_of_their_own() -> None:
    # The last of them has a place of its own in other pictures.
    runs = [(i * 100, 90 - i, f"use{i}" if i != 8 else "anon", 0) for i in range(12)]
    found = classified([snapshot(runs)], "use")
    own = [c for c in found.classes if c.code < HUES]
    assert [c.names for c in own] == [(f"use{i}",) for i in range(HUES)]
    assert len({c.code for c in own}) == HUES
    (other,) = (c for c in found.classes if c.code == OTHER)
    assert other.names == ("anon", "use9", "use10", "use11")
    assert other.pages == (sum(90 - i for i in range(8, 12)),)


def test_a_name_has_one_colour_in_all_pictures() -> None:
    codes = [
        {c.names[0]: c.code for c in classified([snapshot(runs)], "use").classes}
        for runs in ([(0, 9, "anon", 0), (9, 1, "file", 0)], [(0, 1, "anon", 0), (1, 9, "file", 0)])
    ]
    assert codes[0] == codes[1]


def test_two_snapshots_have_the_same_classes() -> None:
    before, after = memory(), memory([(0x10, 8, "zsmalloc", 0), (0x18, 8, "anon", 1)])
    found = classified([before, after], "use")
    by_name = {c.names[0]: c for c in found.classes}
    assert by_name["zsmalloc"].pages == (0, 8)
    assert by_name["slab"].pages == (0x80, 0)
    assert by_name["anon"].code in found.runs[1].codes.tolist()


def test_orders_have_ranges() -> None:
    made = memory()
    made.tables["runs"]["order"][:] = [0, 1, 2, 3, 5, 0, 8, 9, 18]
    found = classified([made], "order")
    # The unreadable page has no order.
    assert [c.names[0] for c in found.classes] == [
        "0", "1", "2", "3", "4-6", "7-8", "9", "10+", "unreadable",
    ]  # fmt: skip
    assert found.is_ordered


def test_pages_of_the_wanted_pfns_alone_count() -> None:
    found = classified([memory()], "use", ((0x42, 0x44), (0x64, 0x67)))
    assert {c.names: c.pages for c in found.classes} == {
        ("anon",): (3,),
        ("file",): (1,),
        ("buddy",): (1,),
    }


def test_unknown_migratetypes_are_other_pages() -> None:
    (unknown, *_) = classified([memory()], "migratetype").classes
    assert (unknown.code, unknown.names) == (OTHER, ("unknown",))


def test_a_snapshot_without_the_table() -> None:
    with pytest.raises(PageInspectError, match="no table runs"):
        classified([snapshot(without=["runs"])], "use")
