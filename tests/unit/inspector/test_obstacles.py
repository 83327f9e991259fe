# SPDX-License-Identifier: GPL-2.0-only
"""Pages in the way, of a kernel made by hand."""

import json
from typing import Any

import numpy as np
import pytest
from blocked_pages import PINNED, BlockedPages
from synthetic import flag

from pageinspect.errors import PageInspectError, UsageError
from pageinspect.inspector import obstacles as obstacles_module
from pageinspect.inspector.fold import fold_here
from pageinspect.inspector.obstacles import find_obstacles
from pageinspect.report.obstacles import ObstaclesReport


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
    assert "Of 88 pages, 21 are in the way, 0 are free, and 67 can be moved." in " ".join(
        report.view().before
    )


def test_nothing_is_in_the_way(made: BlockedPages) -> None:
    report = found(made, "pfn:0x40+0x40")
    assert report.possible
    assert rows(report) == []
    assert "Nothing is in the way: of 64 pages" in report.view().before[2]


@pytest.mark.parametrize("name", ["hugepage", "gigantic"])
def test_of_a_huge_page(made: BlockedPages, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(obstacles_module.PAGES, name, 6)
    made.memory.word(0x41, 0xFFFFFFFF, 1).set(0x41, 0, flag("reserved"))
    report = found(made, name)
    assert report.blocks is not None
    assert tuple(report.blocks) == (8, 0, 1, 5, 2)
    assert report.possible
    # The block with the fewest pages in the way is first, those with reserved pages are last.
    blocks = [*dict.fromkeys(row.block for row in report.obstacles)]
    assert blocks == [0xC0, 0x100, 0x0, 0x1C0, 0x80, 0x140, 0x40, 0x180]
    assert report.obstacles[0].start == PINNED
    text = " ".join(report.view().before)
    assert "Of 16 blocks of 256 KiB, 8 are free, 0 have only pages that can be moved" in text


def test_a_huge_page_that_cannot_be_had(made: BlockedPages) -> None:
    made.memory.word(0x200, 0xF2000000, 1)
    report = found(made, "hugepage")
    assert report.blocks is not None
    assert tuple(report.blocks) == (0, 0, 0, 1, 1)
    assert not report.possible


def test_of_a_memory_block(made: BlockedPages, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = made.kernel
    kernel.variable("sections_per_block", kernel.uint, 1)
    report = found(made, "offline:0")
    # The block has a section of 32768 pages, of which 1024 are there.
    assert report.absent == 32768 - 1024
    assert not report.possible
    assert {row.use for row in report.obstacles} >= {"reserved", "table", "slab", "kernel"}
    offline = found(made, "offline:7")
    assert (offline.absent, offline.obstacles, offline.possible) == (32768, (), False)
    assert "None of these pfns has memory in use." in " ".join(offline.view().before)


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
    "text", ["", "huge", "offline", "offline:", "pfn:", "offline:x", "offline:-1", "offline:³"]
)
def test_what_is_not_understood(made: BlockedPages, text: str) -> None:
    with pytest.raises(UsageError):
        found(made, text)


def test_the_method(made: BlockedPages) -> None:
    report = made.inspector().obstacles("pfn:0xb0-0x108", top=1)
    assert len(report.to_dict()["rows"]) == 1
    json.dumps(report.to_dict())
