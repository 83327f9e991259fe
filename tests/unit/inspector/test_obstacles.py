# SPDX-License-Identifier: GPL-2.0-only
"""Pages in the way, of a kernel made by hand."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from blocked_pages import PINNED, BlockedPages
from owned_pages import PAGES
from synthetic import MODERN, flag

from pageinspect.analysis.mobility import OUTCOMES
from pageinspect.errors import PageInspectError, UsageError
from pageinspect.inspector import obstacles as obstacles_module
from pageinspect.inspector.fold import fold_here
from pageinspect.inspector.obstacles import find_obstacles
from pageinspect.inspector.owner_names import OwnerName, OwnerNames
from pageinspect.kernel import memory_blocks
from pageinspect.model.memory_map import Zone
from pageinspect.report.obstacles import ObstaclesReport

MOVED = (
    "This memory can be allocated as a whole: 64 pages must be moved, and nothing else is in the "
    "way."
)
SLABS = (
    "This memory cannot be allocated as a whole as it is: only slabs that shrinkers may free are "
    "in the way, 1 page."
)
HOLE = (
    "Of 16 pages, 0 are in the way, 16 are free, and 0 can be moved. Without a struct page in "
    "use: 16 pfns of memory that is offline, or of a hole."
)
COMPACTED = (
    "can be had after compaction: none of 2 blocks of 256 KiB is free, but 1 has only pages that "
    "can be moved."
)
ONE = "cannot be had: the only block of 256 KiB has unmovable or reserved pages."
NOTHING_ELSE = (
    "A huge page can be had only if slabs are freed: of 2 blocks of 256 KiB, 1 has nothing else "
    "in the way."
)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> BlockedPages:
    kernel = BlockedPages()
    kernel.install(monkeypatch)
    return kernel


def found(made: BlockedPages, wanted_for: str) -> ObstaclesReport:
    return find_obstacles(made.inspector(), wanted_for, fold=fold_here)


def rows(report: ObstaclesReport) -> list[tuple[Any, ...]]:
    return [
        (row.start, row.end, row.use, row.name, row.refcount, row.pins, row.remedy)
        for row in report.obstacles
    ]


def test_of_a_range(made: BlockedPages) -> None:
    report = found(made, "pfn:0xb0-0x108")
    assert rows(report) == [
        (0xB0, 0xC0, "slab", "dentry", 1, 0, "reclaim"),
        (PINNED, PINNED + 1, "file", "/c", 1025, 1, "unpin"),
        (0x100, 0x104, "kernel", "nft_chain_add", 1, 0, ""),
    ]
    assert not report.possible
    assert sum(report.pages) == 0x58
    assert (report.pages[0], report.pages[1]) == (0, 0x58 - 16 - 5)
    numbers = (
        "Of 88 pages, 21 are in the way, of which 16 can be reclaimed; 0 are free, and 67 can be "
        "moved."
    )
    assert numbers in report.view().before


def said(report: ObstaclesReport) -> tuple[str, str, str]:
    """Return the verdict, and the sentences about it."""
    _, _, verdict, _, numbers, *_ = report.view().before
    return report.verdict, verdict, numbers


def test_nothing_is_in_the_way(made: BlockedPages) -> None:
    report = found(made, "pfn:0x40+0x40")
    assert report.possible
    assert rows(report) == []
    assert said(report) == (
        "movable",
        MOVED,
        "Of 64 pages, 0 are in the way, 0 are free, and 64 can be moved.",
    )
    assert said(found(made, "pfn:0x200+0x10")) == (
        "free",
        "This memory can be allocated as a whole at once: nothing is in the way.",
        "Of 16 pages, 0 are in the way, 16 are free, and 0 can be moved.",
    )


def test_one_page(made: BlockedPages) -> None:
    assert said(found(made, "pfn:0x100")) == (
        "blocked",
        "This memory cannot be allocated as a whole: 1 page of it cannot be moved.",
        "Of 1 page, 1 is in the way, 0 are free, and 0 can be moved.",
    )
    assert said(found(made, "pfn:0x80"))[:2] == (
        "reclaimable",
        SLABS,
    )


def test_a_range_that_goes_on_beyond_memory(made: BlockedPages) -> None:
    report = found(made, "pfn:0x3f0-0x410")
    assert (report.absent, report.pages[0], report.verdict) == (0x10, 0x10, "blocked")
    assert said(report)[1:] == (
        "This memory cannot be allocated as a whole: it lacks 16 pages.",
        HOLE,
    )
    with pytest.raises(UsageError) as error:
        found(made, "pfn:0x400-0x410")
    assert "0x0-0x400" in error.value.hint


def two_zones(made: BlockedPages, at: int) -> None:
    """Divide the memory into two zones at a pfn; the pages of the second name it."""
    made.zones = (Zone(0, "DMA", 0, at, 0), Zone(0, "DMA32", at, PAGES, 1))
    made.memory.words[at:, 0] |= np.uint64(1 << 51)


def test_memory_of_two_zones_is_never_one_range(made: BlockedPages) -> None:
    two_zones(made, 0x60)
    report = found(made, "pfn:0x40+0x40")
    assert (report.verdict, report.possible, report.pages[1]) == ("blocked", False, 0x40)
    assert said(report)[1].endswith("cannot be allocated as a whole: it lies in 2 zones.")
    assert found(made, "pfn:0x60+0x20").possible


def test_a_block_of_two_zones_counts_once(
    made: BlockedPages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(obstacles_module.PAGES, "hugepage", 6)
    two_zones(made, 0x60)
    report = found(made, "hugepage")
    assert report.blocks is not None
    # The block at 0x40 was movable.
    assert tuple(report.blocks) == (8, 0, 1, 5, 2, 1)
    assert "Of 16 blocks of 256 KiB" in said(report)[2]
    assert "1 block is in more than one zone" in said(report)[2]


@pytest.mark.parametrize("name", ["hugepage", "gigantic"])
def test_of_a_huge_page(made: BlockedPages, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(obstacles_module.PAGES, name, 6)
    made.memory.word(0x41, 0xFFFFFFFF, 1).set(0x41, 0, flag("reserved"))
    report = found(made, name)
    assert report.blocks is not None
    assert tuple(report.blocks) == (8, 0, 1, 5, 2, 0)
    assert report.possible
    # The block with the fewest pages in the way is first, those with reserved pages are last.
    blocks = [*dict.fromkeys(row.block for row in report.obstacles)]
    assert blocks == [0xC0, 0x100, 0x0, 0x1C0, 0x80, 0x140, 0x40, 0x180]
    assert report.obstacles[0].start == PINNED
    word, verdict, numbers = said(report)
    assert word == "free"
    assert verdict.endswith("page can be had at once: 8 free blocks of 256 KiB.")
    assert numbers == (
        "Of 16 blocks of 256 KiB, 8 are free, 0 have only pages that can be moved, and 1 also "
        "slabs that can be reclaimed; 5 have unmovable pages, and 2 reserved ones."
    )


@pytest.mark.parametrize(
    ("end", "word", "sentence"),
    [
        (0x80, "movable", COMPACTED),
        (
            0x40,
            "blocked",
            "cannot be had: the only block of 256 KiB has unmovable or reserved pages.",
        ),
    ],
)
def test_verdicts_on_huge_pages(
    made: BlockedPages, monkeypatch: pytest.MonkeyPatch, end: int, word: str, sentence: str
) -> None:
    monkeypatch.setitem(obstacles_module.PAGES, "hugepage", 6)
    made.spanned = ((0, end),)
    report = found(made, "hugepage")
    assert said(report)[:2] == (word, f"A huge page {sentence}")
    assert report.to_json()["verdict"] == word
    assert report.possible == (word == "movable")


def gigantic(
    made: BlockedPages, monkeypatch: pytest.MonkeyPatch, setting: bool | None
) -> ObstaclesReport:
    """Return what is in the way of a gigantic page, of which there are blocks of 64 pages here."""
    monkeypatch.setitem(obstacles_module.PAGES, "gigantic", 6)
    monkeypatch.setattr(obstacles_module, "movable_gigantic_pages", lambda _prog: setting)
    return found(made, "gigantic")


@pytest.mark.parametrize(
    ("setting", "free", "sentence"),
    [
        (None, 4, "ZONE_MOVABLE is left out: this kernel never takes it."),
        (False, 4, "ZONE_MOVABLE is left out: vm.movable_gigantic_pages is 0."),
        (True, 8, ""),
    ],
)
def test_the_zone_for_movable_pages_gives_gigantic_pages_only_if_it_is_allowed(
    made: BlockedPages,
    monkeypatch: pytest.MonkeyPatch,
    setting: bool | None,
    free: int,
    sentence: str,
) -> None:
    made.zones = (Zone(0, "Normal", 0, 0x300, 0), Zone(0, "Movable", 0x300, PAGES, 1))
    made.memory.words[0x300:, 0] |= np.uint64(1 << 51)
    report = gigantic(made, monkeypatch, setting)
    assert report.blocks is not None
    assert report.blocks.free == free
    assert said(report)[2].endswith(sentence or "reserved ones.")
    monkeypatch.setitem(obstacles_module.PAGES, "hugepage", 6)
    every = found(made, "hugepage")
    assert every.blocks is not None
    assert every.blocks.free == 8


@pytest.mark.parametrize(("setting", "unmovable"), [(None, 6), (False, 5), (True, 5)])
def test_older_kernels_move_no_huge_pages_to_make_a_gigantic_one(
    made: BlockedPages, monkeypatch: pytest.MonkeyPatch, setting: bool | None, unmovable: int
) -> None:
    for pfn, order in ((0x200, 8), (0x300, 7), (0x380, 6)):
        made.memory.words[pfn, MODERN.private // 8] = 0
        made.memory.free_block(pfn, order)
    made.memory.compound(0x3C0, 6).word(0x3C0, 0xF4000000)
    report = gigantic(made, monkeypatch, setting)
    assert report.blocks is not None
    assert tuple(report.blocks[:4]) == (7, 7 - unmovable, 1, unmovable)
    in_the_way = [row for row in report.obstacles if row.use == "hugetlb"]
    assert [(row.start, row.remedy) for row in in_the_way] == (
        [(0x3C0, "shrink pool")] if setting is None else []
    )


def test_a_huge_page_in_place_of_slabs(made: BlockedPages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(obstacles_module.PAGES, "hugepage", 6)
    made.spanned = ((0x80, 0x100),)
    assert said(found(made, "hugepage"))[:2] == (
        "reclaimable",
        NOTHING_ELSE,
    )


def test_a_huge_page_that_cannot_be_had(made: BlockedPages) -> None:
    made.memory.word(0x200, 0xF2000000, 1)
    report = found(made, "hugepage")
    assert report.blocks is not None
    assert tuple(report.blocks) == (0, 0, 0, 1, 1, 0)
    assert not report.possible


@pytest.fixture
def blocks(made: BlockedPages, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sections 0 to 7 and 12 have struct pages; each is a memory block."""
    made.kernel.variable("sections_per_block", made.kernel.uint, 1)
    firsts = np.array([*range(8), 12]) << 15
    monkeypatch.setattr(memory_blocks, "sections_with_pages", lambda _: (firsts, None))


@pytest.mark.usefixtures("blocks")
def test_of_a_memory_block(made: BlockedPages) -> None:
    report = found(made, "offline:0")
    # The block has a section of 32768 pages, of which 1024 are there.
    assert report.absent == 32768 - 1024
    assert not report.possible
    assert {row.use for row in report.obstacles} >= {"reserved", "table", "slab", "kernel"}
    offline = found(made, "offline:7")
    assert (offline.absent, offline.obstacles, offline.possible) == (32768, (), False)
    assert said(offline)[1] == "Memory block 7 cannot be taken offline: it is offline already."


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("number", ["8", "13", "999999", "9" * 18])
def test_a_memory_block_that_this_machine_does_not_have(made: BlockedPages, number: str) -> None:
    with pytest.raises(UsageError, match="no memory block") as error:
        found(made, f"offline:{number}")
    assert error.value.hint == "it has: 0-7, 12"


@pytest.mark.usefixtures("blocks")
def test_pages_that_the_kernel_does_not_ask_when_it_takes_memory_offline(
    made: BlockedPages,
) -> None:
    poisoned, taken, given_up = 0x42, 0x44, 0x46
    made.memory.word(poisoned, 0xFFFFFFFF, 1).set(poisoned, 0, flag("hwpoison"))
    made.memory.word(taken, 0xF1000000, 1).word(given_up, 0xF1000000, 0)
    # Other purposes cannot have them.
    others = found(made, "pfn:0x40+0x40")
    assert [row.start for row in others.obstacles] == [poisoned, taken, given_up]
    assert others.verdict == "blocked"

    report = found(made, "offline:0")
    names = {OUTCOMES[row.mobility]: row.start for row in report.obstacles}
    assert report.obstacles[-1].start == names["undecided"] == taken
    assert not {poisoned, given_up} & {row.start for row in report.obstacles}
    pages = report.to_json()["pages"]
    assert (pages["skipped"], pages["undecided"]) == (2, 1)
    assert sum(pages.values()) == 1024
    _, _, numbers = said(report)
    assert "1 page may be in the way: the driver decides" in numbers
    assert "passes over 2 pages" in numbers


def test_pages_of_no_zone_are_in_the_way_of_offlining(made: BlockedPages) -> None:
    made.memory.words[0x140:0x180, 0] |= np.uint64(3 << 54)
    (row,) = found(made, "pfn:0x140+0x10").obstacles
    assert (row.start, row.end, row.use) == (0x140, 0x150, "conflict")


def test_of_cma(made: BlockedPages) -> None:
    assert made.pageblocks is not None
    made.pageblocks.types[0, 0] = made.pageblocks.names.index("cma")
    report = found(made, "cma")
    assert sum(report.pages) == 0x200
    assert PINNED in {row.start for row in report.obstacles}


def test_a_kernel_without_cma(made: BlockedPages) -> None:
    with pytest.raises(PageInspectError, match="has no CMA area"):
        found(made, "cma")
    assert made.pageblocks is not None
    object.__setattr__(made.pageblocks, "names", ("unmovable", "movable"))
    with pytest.raises(PageInspectError, match=r"has no CMA\n"):
        found(made, "cma")
    made.pageblocks = None
    with pytest.raises(PageInspectError, match="pageblocks"):
        found(made, "cma")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "huge",
        "offline",
        "offline:",
        "pfn:",
        "offline:x",
        "offline:-1",
        "offline:³",
        "offline:" + "9" * 5000,
    ],
)
def test_what_is_not_understood(made: BlockedPages, text: str) -> None:
    with pytest.raises(UsageError):
        found(made, text)


@pytest.mark.parametrize("text", ["1G", "2MiB", "2 MiB"])
def test_a_size_is_not_a_purpose(made: BlockedPages, text: str) -> None:
    with pytest.raises(UsageError, match="is not a purpose") as error:
        found(made, text)
    assert error.value.hint == "2 MiB is hugepage, 1 GiB is gigantic"


def test_rows_of_blocks_have_a_heading_and_their_block(
    made: BlockedPages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(obstacles_module.PAGES, "hugepage", 6)
    view = found(made, "hugepage").view()
    assert view.before[-3:] == ("", "What is in the way in other blocks:", "")
    assert next(column.name for column in view.table.columns if not column.machines) == "block"
    view = found(made, "pfn:0xb0-0x108").view()
    assert "What is" not in " ".join(view.before)
    assert next(column.name for column in view.table.columns if not column.machines) == "start"
    assert found(made, "pfn:0x40+0x40").view().before[-1]


def test_only_what_is_shown_is_named(made: BlockedPages, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []
    names = OwnerNames.names

    def counted(self: OwnerNames, kind: str, keys: Sequence[int]) -> list[OwnerName]:
        asked.append((kind, len(keys)))
        return names(self, kind, keys)

    monkeypatch.setattr(OwnerNames, "names", counted)
    whole = found(made, "pfn:0xb0-0x108")
    assert sorted(asked) == [("file", 1), ("slab", 1), ("vmalloc", 1)]
    asked.clear()
    first = find_obstacles(made.inspector(), "pfn:0xb0-0x108", fold=fold_here, most=1)
    assert asked == [("slab", 1)]
    assert (first.obstacles, first.further) == (whole.obstacles[:1], 2)
    assert (first.pages, first.verdict) == (whole.pages, whole.verdict)
    assert "2 more ranges of pages: --top 0 shows all." in first.view().lines_after()


def test_the_method(made: BlockedPages) -> None:
    report = made.inspector().obstacles("pfn:0xb0-0x108", top=1)
    assert len(report.to_dict()["rows"]) == 1
    json.dumps(report.to_dict())
