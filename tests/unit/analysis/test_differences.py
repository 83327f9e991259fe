# SPDX-License-Identifier: GPL-2.0-only
"""Amounts of two snapshots by name, with expectations that were computed by hand."""

from dataclasses import replace

import pytest
from compared_snapshots import KERNEL, MINUTE, PAGE, process, snapshot
from hypothesis import given
from hypothesis import strategies as st

from pageinspect.analysis.comparable import check_comparable, gaps, of_one_boot
from pageinspect.analysis.differences import (
    BY,
    CACHE_KIND,
    FILE_KINDS,
    TASK_KINDS,
    Change,
    changed,
    differences,
)
from pageinspect.errors import PageInspectError, UsageError
from pageinspect.model.snapshot import Names, Snapshot
from pageinspect.owners.table import KINDS

OWNERS = ((0, "free", ""), (1, "slab", "dentry"), (2, "file", "/a"), (3, "anon", "bash[8]"))
BEFORE = snapshot(((0x100, 64, "buddy", 0), (0x140, 32, "slab", 1), (0x160, 32, "file", 2)), OWNERS)
AFTER = snapshot(
    ((0x100, 16, "buddy", 0), (0x110, 80, "slab", 7), (0x160, 32, "anon", 3)),
    ((0, "free", ""), (7, "slab", "dentry"), (3, "anon", "bash[8]")),
)


def test_uses_those_that_changed_most_first() -> None:
    assert changed(differences(BEFORE, AFTER, "use")) == (
        Change(("buddy",), (64,), (16,)),
        Change(("slab",), (32,), (80,)),
        Change(("anon",), (0,), (32,), "came"),
        Change(("file",), (32,), (0,), "went"),
    )


def test_owners_have_no_row_without_a_change() -> None:
    grown = snapshot(((0x100, 60, "buddy", 0), (0x13C, 36, "slab", 1)), OWNERS[:2])
    before = snapshot(((0x100, 64, "buddy", 0), (0x140, 32, "slab", 1)), OWNERS[:2])
    assert changed(differences(before, grown, "name")) == (
        Change(("free", ""), (64,), (60,)),
        Change(("slab", "dentry"), (32,), (36,)),
    )
    assert changed(differences(before, grown, "zone")) == ()
    assert differences(before, grown, "zone") == (Change(("Normal",), (96,), (96,)),)


def test_an_owner_without_pages_that_came_is_a_row() -> None:
    before, after = snapshot((), OWNERS[:1]), snapshot((), OWNERS[:2])
    assert changed(differences(before, after, "cache")) == (
        Change(("dentry",), (0,), (0,), "came"),
    )


def test_files_are_those_of_one_file_system() -> None:
    owners = ((1, "file", "/a"), (2, "file", "/a"), (3, "shmem", "/b"), (4, "slab", "/a"))
    where = {1: "ext4 on vda", 2: "ext4 on vdb", 3: "tmpfs"}
    sizes = [
        snapshot([(i, n, "file", i) for i, n in pages], owners, filesystems=where)
        for pages in (((1, 1), (2, 2), (3, 3), (4, 4)), ((1, 1), (2, 9), (3, 4), (4, 5)))
    ]
    assert changed(differences(*sizes, "file")) == (
        Change(("/a", "ext4 on vdb"), (2,), (9,)),
        Change(("/b", "tmpfs"), (3,), (4,)),
    )
    assert changed(differences(*sizes, "cache")) == (Change(("/a",), (4,), (5,)),)


def test_processes_by_pid_and_name() -> None:
    before = snapshot(processes=(process(8, "sh", 100, 90), process(9, "cp", 50, 40)))
    after = snapshot(processes=(process(8, "sh", 130, 95), process(9, "dd", 50, 40)))
    assert changed(differences(before, after, "process")) == (
        Change(("9", "cp"), (40, 50), (0, 0), "went"),
        Change(("9", "dd"), (0, 0), (40, 50), "came"),
        Change(("8", "sh"), (90, 100), (95, 130)),
    )


def test_processes_of_different_boots_by_name_with_each_address_space_once() -> None:
    before = snapshot(processes=(process(8, "sh", 100, 90), process(9, "sh", 50, 40)))
    after = snapshot(
        processes=(process(3, "sh", 70, 60, 1), process(4, "sh", 70, 60, 1)), boot_id="other"
    )
    assert differences(before, after, "process") == (Change(("", "sh"), (130, 150), (60, 70)),)


def test_a_process_that_cannot_be_read_is_left_out_and_reported() -> None:
    before = snapshot(processes=(process(8, "sh", 100, 90),))
    after = snapshot(processes=(process(8, "sh", None, None),))
    assert differences(before, after, "process")[0].state == "went"
    assert gaps(before, before, processes=True) == ()
    assert gaps(before, after) == ()
    assert gaps(before, after, processes=True) == (
        "Processes of after whose page tables could not all be read: 1.",
    )


def test_cgroups_by_bytes() -> None:
    before, after = (
        snapshot(
            cgroups=[
                {"cgroup": "/a", "kind": kind, "pages": n, "bytes": n * 4000}
                for kind, n in (("slab", pages), ("anon", 1))
            ]
        )
        for pages in (4, 6)
    )
    assert BY["cgroup"].measures == ("bytes", "pages")
    assert differences(before, after, "cgroup") == (Change(("/a",), (20000, 5), (28000, 7)),)


def test_names_of_different_boots_have_no_pids() -> None:
    owners = ((1, "anon", "bash[8] and 2 more"), (2, "slab", "bash[8]"))
    runs = ((0, 5, "anon", 1), (5, 5, "slab", 2))
    later = ((1, "anon", "bash[77] and 2 more"), (2, "slab", "bash[8]"))
    assert changed(differences(snapshot(runs, owners), snapshot(runs, later), "name"))
    other = snapshot(runs, later, boot_id="other")
    assert changed(differences(snapshot(runs, owners), other, "name")) == ()
    assert {change.key for change in differences(snapshot(runs, owners), other, "name")} == {
        ("anon", "bash and 2 more"),
        ("slab", "bash[8]"),
    }


def test_a_zone_that_is_null_is_unreadable() -> None:
    runs = ((0, 5, "kernel", 0), (5, 2, "kernel", 0))
    read, unread = snapshot(runs, OWNERS), snapshot(runs, OWNERS)
    unread.tables["runs"].columns["zone"] = Names.of([None, "Normal"])
    assert changed(differences(read, unread, "zone")) == (
        Change(("Normal",), (7,), (2,)),
        Change(("unreadable",), (0,), (5,), "came"),
    )


def test_values_that_occur_twice_are_one_name() -> None:
    runs = ((0, 5, "slab", 0), (5, 3, "slab", 0))
    twice = snapshot(runs, OWNERS)
    use = twice.tables["runs"]["use"]
    twice.tables["runs"].columns["use"] = Names(use.codes + [0, 1], ("slab", "slab"))  # noqa: RUF005
    assert changed(differences(snapshot(runs, OWNERS), twice, "use")) == ()


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ({}, {}, True),
        ({}, {"boot_id": "other"}, False),
        ({}, {"release": "7.4"}, True),
        ({"boot_id": None}, {}, True),
        ({"boot_id": None}, {"boot_time": 5 * MINUTE + 900_000}, True),
        ({"boot_id": None}, {"boot_time": 5 * MINUTE + 1_000_000}, False),
        ({"boot_id": None}, {"release": "7.4"}, False),
        ({"boot_id": None}, {"boot_time": None}, False),
        ({"boot_id": None, "boot_time": None}, {"boot_id": None, "boot_time": None}, False),
    ],
)
def test_one_boot(before: dict[str, object], after: dict[str, object], same: bool) -> None:
    assert of_one_boot(snapshot(**before), snapshot(**after)) is same


def test_pages_of_other_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match=r"pages of 4 KiB .* pages of 16 KiB"):
        check_comparable(snapshot(), snapshot(page_size=4 * PAGE))


def test_a_kernel_that_could_not_be_read_is_refused() -> None:
    with pytest.raises(PageInspectError, match=r"lab at .* no struct pages"):
        check_comparable(snapshot(error="no struct pages"), snapshot())


def test_a_table_that_one_side_lacks_is_named() -> None:
    lacks = snapshot(host="b", without=("cgroups",))
    with pytest.raises(PageInspectError, match=r"b at 2026.* has no table cgroups") as caught:
        differences(snapshot(), lacks, "cgroup")
    assert "it has runs, owners, processes" in caught.value.hint


def test_gaps_of_each_side() -> None:
    before = snapshot(
        ((0x10, 4, "slab", 1), (0x14, 2, "file", 2), (0x16, 2, "file", 2)), OWNERS, unreadable=2
    )
    after = snapshot(((0x12, 2, "slab", 1), (0x20, 1, "slab", 1)), OWNERS, missing=("No tasks.",))
    assert gaps(before, after) == (
        "2 struct pages of before could not be read.",
        "Of after: No tasks.",
        "The memory 0x10-0x12, 0x14-0x18 is only in before: 6 pages.",
        "The memory 0x20-0x21 is only in after: 1 page.",
    )


def test_gaps_without_runs_are_numbers() -> None:
    sides = [snapshot(without=("runs",), spanned=n) for n in (5, 7)]
    assert gaps(*sides) == ("Before has 5 pages of memory, and after 7.",)
    assert gaps(sides[0], sides[0]) == ()


def test_kinds_are_those_whose_names_are_of_this_sort() -> None:
    groups = {
        group: {kind.name for kind in KINDS if kind.group == group}
        for group in ("file", "cache", "task")
    }
    assert groups == {"file": {*FILE_KINDS}, "cache": {CACHE_KIND}, "task": {*TASK_KINDS}}


lengths = st.lists(
    st.tuples(st.integers(1, 9), st.sampled_from(("slab", "file", "anon")), st.integers(0, 3)),
    max_size=8,
)


def of_lengths(parts: list[tuple[int, str, int]]) -> Snapshot:
    runs, at = [], 0x40
    for n, use, owner in parts:
        runs.append((at, n, use, owner))
        at += n
    return snapshot(runs, OWNERS)


@given(lengths)
def test_a_snapshot_does_not_differ_from_itself(parts: list[tuple[int, str, int]]) -> None:
    for by in BY:
        assert changed(differences(of_lengths(parts), of_lengths(parts), by)) == ()


@given(lengths, lengths)
def test_changes_add_up_to_the_difference_of_the_totals(
    left: list[tuple[int, str, int]], right: list[tuple[int, str, int]]
) -> None:
    difference = sum(part[0] for part in right) - sum(part[0] for part in left)
    for by in ("type", "use", "owner", "name", "zone"):
        found = differences(of_lengths(left), of_lengths(right), by)
        assert sum(change.change[0] for change in changed(found)) == difference


def test_gaps_of_a_core_without_types() -> None:
    cut_off = replace(KERNEL.provenance, is_whole=False)
    kernel = replace(KERNEL, provenance=cut_off, unavailable=("table", "pcp"))
    assert gaps(snapshot(kernel=kernel.to_json()), snapshot(kernel="")) == (
        "Of before: The core is incomplete.",
        "Of before: Not available from VMCOREINFO alone: table, pcp.",
    )
