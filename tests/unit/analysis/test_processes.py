# SPDX-License-Identifier: GPL-2.0-only
"""What processes use, from entries of page tables, and against a count page by page."""

from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pageinspect.analysis import processes
from pageinspect.analysis.processes import (
    Mappings,
    PageClass,
    Usage,
    UsageSums,
    UseRuns,
    class_runs,
    mapped_by,
    page_classes,
    usage_of,
)
from pageinspect.classify.uses import USE
from pageinspect.model.mappings import Entries, EntryKind
from pageinspect.model.memory_map import MemoryMap
from pageinspect.model.processes import Process

PAGE = 4096
SIZE = 4096
SECTION = 1 << 15
COUNTED = (PageClass.FILE, PageClass.ANON, PageClass.SHMEM)


class Row(NamedTuple):
    mm: int
    vpn: int
    pfn: int
    order: int = 0
    kind: int = EntryKind.MAPPED


def part(*rows: Row) -> Entries:
    mm, vpn, pfn, order, kind = zip(*rows, strict=True) if rows else ((),) * 5
    return Entries(
        np.array(mm, np.int32),
        np.array(vpn, np.int64),
        np.array(pfn, np.int64),
        np.array(order, np.uint8),
        np.array(kind, np.uint8),
        np.zeros(len(rows), np.uint8),
    )


def classes(**pfns: Sequence[int]) -> np.ndarray:
    made = np.full(SIZE, PageClass.FILE, np.uint8)
    for name, of_class in pfns.items():
        made[list(of_class)] = getattr(PageClass, name.upper())
    return made


def rows_of(usage: Usage, *names: str) -> list[list[int]]:
    """Return columns in pages."""
    return [(getattr(usage, name) // PAGE).tolist() for name in names]


def test_a_page_is_shared_out_by_how_often_it_is_mapped() -> None:
    entries = [part(Row(0, 1, 7), Row(0, 2, 8), Row(1, 1, 7), Row(2, 1, 7), Row(2, 9, 7))]
    usage = usage_of(entries, classes(anon=[8]), 4)
    assert rows_of(usage, "rss", "anon", "file", "uss") == [
        [2, 1, 2, 0],
        [1, 0, 0, 0],
        [1, 1, 2, 0],
        [1, 0, 0, 0],
    ]
    assert usage.pss.tolist() == [PAGE + PAGE // 4, PAGE // 4, PAGE // 2, 0]


def test_shares_are_rounded_once_as_the_kernel_does() -> None:
    entries = [part(*(Row(mm, 0, 7) for mm in range(3)), *(Row(0, v, 100 + v) for v in range(3)))]
    entries += [
        part(*(Row(1, v, 100 + v) for v in range(3)), *(Row(2, v, 100 + v) for v in range(3)))
    ]
    # Four pages of a third each: (4096 << 12) // 3 * 4 >> 12.
    assert usage_of(entries, classes(), 3).pss.tolist() == [((PAGE << 12) // 3 * 4) >> 12] * 3


def test_hugetlb_the_zero_page_and_what_has_no_struct_page_are_not_resident() -> None:
    entries = [
        part(Row(0, 512, 512, 9), Row(0, 1, 3), Row(0, 2, 4), Row(0, 3, SIZE + 5)),
        part(Row(0, 4, 5, 0, EntryKind.SPECIAL), Row(0, 5, 6)),
    ]
    usage = usage_of(entries, classes(hugetlb=range(512, 1024), uncounted=[3, 4], shmem=[6]), 1)
    assert rows_of(usage, "rss", "shmem", "hugetlb", "uss", "pss") == [[1], [1], [512], [1], [1]]


def test_huge_entries() -> None:
    entries = [
        part(Row(0, 0, 512, 9), Row(0, 512, 1024, 9), Row(1, 0, 1536, 9)),
        part(Row(1, 4000, 600), Row(1, 4001, 1024)),
    ]
    usage = usage_of(entries, classes(anon=range(512, 1024), shmem=range(1536, 2048)), 2)
    assert rows_of(usage, "rss", "huge", "anon_huge", "file_huge", "shmem_huge") == [
        [1024, 514],
        [1024, 512],
        [512, 0],
        [512, 0],
        [0, 512],
    ]
    # Pages 600 and 1024 are mapped twice, by a huge entry and a small one.
    assert rows_of(usage, "uss", "pss") == [[1022, 512], [1023, 513]]


def test_a_gigantic_entry_that_is_not_of_hugetlb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_BLOCKS_AT_ONCE", 100)
    size = 1 << 19
    entries = [part(Row(0, 0, 1 << 18, 18)), part(Row(1, 0, (1 << 18) + 5), Row(1, 1, size - 1))]
    usage = usage_of(entries, np.full(size, PageClass.FILE, np.uint8), 2)
    assert rows_of(usage, "rss", "uss") == [[1 << 18, 2], [(1 << 18) - 2, 0]]


def test_entries_that_are_not_present() -> None:
    entries = [
        part(
            Row(0, 0, 7, 0, EntryKind.MIGRATION),
            Row(1, 0, 7, 0, EntryKind.MIGRATION),
            Row(0, 1, 9, 0, EntryKind.DEVICE_EXCLUSIVE),
            Row(0, 2, 1 << 30, 0, EntryKind.DEVICE_PRIVATE),
            Row(0, 3, 5, 0, EntryKind.HWPOISON),
            Row(0, 4, 1 << 40, 0, EntryKind.SWAP),
            Row(0, 512, 6, 9, EntryKind.MARKER),
        )
    ]
    usage = usage_of(entries, classes(anon=[7]), 2)
    assert rows_of(usage, "rss", "anon", "file", "pss", "uss", "swap", "hwpoison") == [
        [3, 1],
        [2, 1],
        [1, 0],
        [3, 1],
        [1, 0],
        [1, 0],
        [1, 0],
    ]


def test_mapped_by() -> None:
    entries = [
        part(Row(0, 512, 512, 9), Row(1, 7, 600, 0, EntryKind.SWAP)),
        part(Row(2, 8, 600), Row(2, 9, 601), Row(1, 1, 600, 0, EntryKind.MIGRATION)),
    ]
    mms = {9: 1, 1: 2, 5: 0, 6: 0, 7: None}
    tasks = [Process(pid, f"c{pid}", mm, "") for pid, mm in mms.items()]
    of_600 = [(1, 8), (5, 600), (6, 600), (9, 1)]
    found = mapped_by(entries, tasks, [600, 512, 1024, 601], 16)
    assert {pfn: (m.count, places(m)) for pfn, m in found.items()} == {
        600: (4, of_600),
        512: (2, [(5, 512), (6, 512)]),
        1024: (0, []),
        601: (3, [(1, 9), (5, 601), (6, 601)]),
    }
    assert [each.comm for each in found[600].first] == ["c1", "c5", "c6", "c9"]
    for most in range(5):
        some = mapped_by(entries, tasks, [600], most)[600]
        assert (some.count, places(some)) == (4, of_600[:most])
    # A process that is not listed has no mappings.
    assert mapped_by(entries, tasks[1:3], [512], 16)[512].count == 1
    assert mapped_by([], tasks, [512], 16) == {512: Mappings(0, ())}
    assert mapped_by(entries, tasks, [], 16) == {}


@given(
    rows=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60)), max_size=40),
    users=st.lists(st.integers(0, 5), max_size=12),
    most=st.integers(0, 6),
)
def test_mappings_are_of_as_many_processes_as_possible(
    rows: list[tuple[int, int]], users: list[int], most: int
) -> None:
    tasks = [Process(100 - pid, "", mm, "") for pid, mm in enumerate(users)]
    rows = sorted(set(rows))
    every = [
        (nth, task.pid, vpn)
        for task in tasks
        for nth, vpn in enumerate(vpn for mm, vpn in rows if mm == task.mm)
    ]
    first = sorted((pid, vpn) for _, pid, vpn in sorted(every)[:most])
    found = mapped_by([part(*(Row(mm, vpn, 7) for mm, vpn in rows))], tasks, [7], most)[7]
    assert (found.count, places(found)) == (len(every), first)


def places(mappings: Mappings) -> list[tuple[int, int]]:
    """Return pid and virtual page number of the first mappings."""
    return [(each.pid, each.address >> 12) for each in mappings.first]


def test_the_class_of_each_page_from_runs() -> None:
    names = ["file", "anon", "shmem", "hugetlb", "ksm", "kernel"]
    runs = [
        ([2, 5], [3, 1], [0, 1]),
        ([6, 10, 20, 30], [1, 10, 10, 600], [2, 3, 4, 5]),
    ]
    batches = [
        SimpleNamespace(
            pfns=np.array(pfns),
            lengths=np.array(n),
            use=np.array(use, np.uint16),
            unreadable=len(n),
        )
        for pfns, n, use in runs
    ]
    memory_map = MemoryMap(((2, 7), (10, 630)), (), zero_pfn=3, huge_zero_pfn=100)
    parts = [class_runs([batch], names.__getitem__) for batch in batches]  # type: ignore[list-item]
    assert [part.unreadable for part in parts] == [2, 4]
    assert [len(part.pfns) for part in parts] == [1, 3]
    assert class_runs([], names.__getitem__).pfns.tolist() == []
    found = page_classes(memory_map, memory_map.spanned, parts)
    uncounted, file, anon, shmem, hugetlb = range(5)
    assert found[:12].tolist() == [
        *[uncounted] * 2,
        *[file, uncounted, file],
        *[anon, shmem],
        *[uncounted] * 3,
        *[hugetlb] * 2,
    ]
    assert found[19:31].tolist() == [hugetlb, *[anon] * 10, file]
    assert np.flatnonzero(found[31:] == uncounted).tolist() == [*range(69, 69 + 512)]
    assert len(found) == 630
    # Of what was not read, nothing is known.
    some = page_classes(memory_map, [(2, 7)], parts[:1])
    assert some[:8].tolist() == [*[uncounted] * 2, file, uncounted, file, anon, file, uncounted]


def test_the_sections_with_mapped_pages() -> None:
    sums = UsageSums(10 * SECTION + 5, 1)
    of_gigabyte = Row(0, 0, 4 * SECTION, 18)
    absent = [Row(0, 0, 3 * SECTION, 0, kind) for kind in (EntryKind.SWAP, EntryKind.SPECIAL)]
    moving = Row(0, 0, SECTION, 0, EntryKind.MIGRATION)
    sums.count(part(moving, *absent, of_gigabyte, Row(0, 0, 99 * SECTION)))
    assert sums.sections() == [(SECTION, 2 * SECTION), (4 * SECTION, 11 * SECTION)]
    assert UsageSums(0, 1).sections() == []


def test_a_mapping_that_was_made_after_the_first_pass() -> None:
    sums = UsageSums(SIZE, 1)
    sums.count(part(Row(0, 1, 7)))
    usage = sums.usage([part(Row(0, 1, 7), Row(0, 2, 8))], classes())
    assert rows_of(usage, "rss", "pss") == [[2], [2]]


def test_no_mms() -> None:
    assert usage_of([], classes(), 0).rss.tolist() == []
    assert usage_of([part()], classes(), 1).pss.tolist() == [0]


def plain(rows: list[Row], of: np.ndarray, mms: int) -> dict[str, list[int]]:
    """Count page by page."""
    found = {name: [0] * mms for name in ("rss", "pss", "uss", "swap", "huge")}
    pages = [
        (row, row.pfn + i)
        for row in rows
        if row.kind <= EntryKind.DEVICE_EXCLUSIVE and row.kind != EntryKind.SPECIAL
        for i in range(1 << row.order)
        if of[row.pfn] in COUNTED or row.kind == EntryKind.DEVICE_PRIVATE
    ]
    present = (EntryKind.MAPPED, EntryKind.DEVICE_PRIVATE)
    mappings = Counter(
        row.pfn + i for row in rows if row.kind in present for i in range(1 << row.order)
    )
    for row, pfn in pages:
        n = mappings[pfn] if row.kind in present else 1
        found["rss"][row.mm] += PAGE
        found["pss"][row.mm] += (PAGE << 12) // n
        found["uss"][row.mm] += PAGE * (n == 1 and row.kind in present)
        found["huge"][row.mm] += PAGE * (row.order > 0)
    found["pss"] = [share >> 12 for share in found["pss"]]
    for row in rows:
        if row.kind == EntryKind.SWAP:
            found["swap"][row.mm] += PAGE << row.order
    return found


ROWS = st.one_of(
    st.builds(
        Row, st.integers(0, 2), st.just(0), st.integers(0, 40), st.just(0), st.integers(0, 7)
    ),
    st.builds(
        Row, st.integers(0, 2), st.just(0), st.sampled_from([0, 512]), st.just(9), st.integers(0, 7)
    ),
)


@given(
    parts=st.lists(st.lists(ROWS, max_size=20), max_size=3),
    of=st.lists(st.integers(0, 4), min_size=2, max_size=30),
)
def test_sums_are_those_of_a_count_page_by_page(parts: list[list[Row]], of: list[int]) -> None:
    made = np.resize(np.array(of, np.uint8), SIZE)
    usage = usage_of([part(*rows) for rows in parts], made, 3)
    slow = plain([row for rows in parts for row in rows], made, 3)
    assert {name: getattr(usage, name).tolist() for name in slow} == slow


def test_classes_of_uses_that_were_read_already() -> None:
    names = {1: "anon", 2: "shmem", 3: "file", 4: "hugetlb"}
    unreadable = USE["unreadable"]
    names[unreadable] = "unreadable"
    # pfns 0 and 1, 8 and 9, and those from 20 on have no struct page in use.
    rows = [(2, 3, 3), (5, 1, 1), (6, 2, 2), (10, 2, 4), (12, 6, unreadable), (18, 2, 1)]
    starts, lengths, uses = np.array(rows).T
    runs = UseRuns(starts, lengths, uses.astype(np.uint16))
    uncounted, file, anon, shmem, hugetlb = range(5)
    expected = [
        *[uncounted] * 2,
        *[file] * 3,
        *[anon, shmem, shmem],
        *[uncounted] * 2,
        *[hugetlb] * 2,
        *[file] * 6,
        *[anon] * 2,
    ]
    for end in (20, 25, 19):
        found = runs.classes(MemoryMap(((0, end),), ()), names.__getitem__)
        assert found.tolist() == (expected + [uncounted] * 5)[:end]
    with_zero = runs.classes(MemoryMap(((0, 20),), (), zero_pfn=5), names.__getitem__)
    assert with_zero.tolist() == [*expected[:5], uncounted, *expected[6:]]
    assert runs.unreadable([(0, 14), (17, 30)]) == 3
    assert runs.unreadable([(0, 12)]) == 0
