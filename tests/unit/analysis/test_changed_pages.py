# SPDX-License-Identifier: GPL-2.0-only
"""Pages that changed between two snapshots of one boot, beside a comparison page by page."""

from itertools import pairwise

import pytest
from compared_snapshots import Owner, Run, snapshot
from hypothesis import given
from hypothesis import strategies as st

from pageinspect.analysis.changed_pages import ChangedRun, changed_pages
from pageinspect.errors import PageInspectError

OWNERS = ((0, "free", ""), (1, "slab", "dentry"), (2, "file", "/a"), (3, "file", "/b"))
BEFORE = snapshot(
    ((0x100, 0x40, "buddy", 0), (0x140, 0x20, "file", 2), (0x180, 8, "slab", 1)), OWNERS
)
AFTER = snapshot(
    (
        *((0x100, 0x20, "buddy", 0), (0x120, 0x10, "slab", 9), (0x130, 0x10, "slab", 9)),
        *((0x140, 0x10, "file", 2), (0x150, 0x10, "file", 3), (0x184, 8, "slab", 9)),
    ),
    ((0, "free", ""), (9, "slab", "dentry"), (2, "file", "/a"), (3, "file", "/b")),
)


def test_runs_that_changed() -> None:
    found = changed_pages(BEFORE, AFTER)
    assert [*found.runs()] == [
        ChangedRun(0x120, 0x140, ("buddy", "slab"), ("free", "slab:dentry")),
        ChangedRun(0x150, 0x160, ("file", "file"), ("file:/a", "file:/b")),
    ]
    assert (found.both, found.changed) == (0x64, 0x30)
    assert (found.same_owner, found.same_use) == (0x34, 0x44)
    assert (found.only_before, found.only_after) == (((0x180, 0x184),), ((0x188, 0x18C),))


def test_only_the_wanted_pages() -> None:
    found = changed_pages(BEFORE, AFTER, [(0x130, 0x148), (0x182, 0x186)])
    assert [*found.runs()] == [ChangedRun(0x130, 0x140, ("buddy", "slab"), ("free", "slab:dentry"))]
    assert (found.both, found.changed) == (0x1A, 0x10)
    assert found.only_before == ((0x182, 0x184),)
    assert found.only_after == ()


def test_owners_that_differ_by_file_system_alone() -> None:
    runs = ((0, 8, "file", 1),)
    sides = [snapshot(runs, ((1, "file", "/a"),), filesystems={1: name}) for name in ("x", "y")]
    found = changed_pages(*sides)
    assert (found.same_owner, found.same_use, len(found)) == (0, 8, 1)
    assert [run.owners for run in found.runs()] == [("file:/a (x)", "file:/a (y)")]
    sides[0] = snapshot(runs, ((1, "file", "/a"),))
    (run,) = changed_pages(*sides).runs()
    assert run.owners == ("file:/a (not known)", "file:/a (y)")


def test_an_owner_that_the_table_lacks() -> None:
    runs = ((0, 8, "file", 5), (8, 8, "file", 1))
    found = changed_pages(snapshot(runs, OWNERS), snapshot(runs, OWNERS))
    assert found.same_owner == 16
    found = changed_pages(snapshot(runs, OWNERS), snapshot(runs, (*OWNERS, (5, "file", "/c"))))
    assert [run.owners for run in found.runs()] == [("", "file:/c")]


def test_no_memory_at_all() -> None:
    found = changed_pages(snapshot(), snapshot(((4, 4, "slab", 1),), OWNERS))
    assert (found.both, len(found), found.only_after) == (0, 0, ((4, 8),))


@pytest.mark.parametrize("name", ["runs", "owners"])
def test_a_table_that_is_missing(name: str) -> None:
    with pytest.raises(PageInspectError, match=f"has no table {name}"):
        changed_pages(BEFORE, snapshot(without=(name,)))


@st.composite
def sides(draw: st.DrawFn) -> tuple[list[Run], list[Owner]]:
    """Return runs with gaps between them, and owners with numbers of their own."""
    numbers = draw(st.permutations(range(4)))
    runs, at = [], draw(st.integers(0, 5))
    for _ in range(draw(st.integers(0, 6))):
        n = draw(st.integers(1, 6))
        use = draw(st.sampled_from(("slab", "file")))
        runs.append((at, n, use, draw(st.integers(0, 3))))
        at += n + draw(st.sampled_from((0, 0, 0, 2)))
    owners = [(i, "kind", str(name)) for i, name in enumerate(numbers)]
    return runs, owners


def page_by_page(runs: list[Run], owners: list[Owner]) -> dict[int, tuple[str, str]]:
    names = {i: name for i, _, name in owners}
    return {pfn: (use, names[o]) for start, n, use, o in runs for pfn in range(start, start + n)}


@given(sides(), sides(), st.lists(st.integers(0, 40), max_size=6, unique=True).map(sorted))
def test_as_a_comparison_page_by_page(
    left: tuple[list[Run], list[Owner]], right: tuple[list[Run], list[Owner]], bounds: list[int]
) -> None:
    wanted = [*zip(bounds[::2], bounds[1::2], strict=False)] or None
    before, after = page_by_page(*left), page_by_page(*right)
    inside = {pfn for pfn in before | after if not wanted or any(a <= pfn < b for a, b in wanted)}
    both = inside & before.keys() & after.keys()
    found = changed_pages(snapshot(*left), snapshot(*right), wanted)
    assert found.both == len(both)
    assert found.same_use == sum(before[pfn][0] == after[pfn][0] for pfn in both)
    assert found.same_owner == sum(before[pfn][1] == after[pfn][1] for pfn in both)
    runs = [*found.runs()]
    shown = {pfn: (run.uses, run.owners) for run in runs for pfn in range(run.start, run.end)}
    assert shown == {
        pfn: (
            (before[pfn][0], after[pfn][0]),
            (f"kind:{before[pfn][1]}", f"kind:{after[pfn][1]}"),
        )
        for pfn in both
        if before[pfn] != after[pfn]
    }
    assert found.changed == len(shown) == sum(run.end - run.start for run in runs)
    for one, two in pairwise(runs):
        assert one.end < two.start or one[2:] != two[2:]
    for alone, pfns in ((found.only_before, before), (found.only_after, after)):
        assert {p for start, end in alone for p in range(start, end)} == {*pfns} & inside - both
