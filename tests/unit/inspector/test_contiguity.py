# SPDX-License-Identifier: GPL-2.0-only
"""Blocks and blockers of a kernel made by hand."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from blocked_pages import ORDER, PINNED, READ, BlockedPages
from owned_pages import PAGES

from pageinspect.errors import PageInspectError, UsageError
from pageinspect.inspector import sweep
from pageinspect.inspector.contiguity import find_contiguity
from pageinspect.inspector.fold import fold_here
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.pageblocks import Pageblocks
from pageinspect.report.contiguity import ContiguityReport
from pageinspect.report.contiguity_counts import check_order


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> BlockedPages:
    kernel = BlockedPages()
    kernel.install(monkeypatch)
    return kernel


def found(made: BlockedPages, order: int | None = ORDER, **options: Any) -> ContiguityReport:
    return find_contiguity(made.inspector(), fold=fold_here, order=order, **options)


def test_states_of_blocks(made: BlockedPages) -> None:
    (zone,) = found(made).blocks
    # b is movable; dentries are reclaimable; 0, 3, 4, 5 and 7 have an unmovable page, 6 a reserved.
    states = (zone.free, zone.movable, zone.reclaimable, zone.unmovable, zone.reserved)
    assert states == (8, 1, 1, 5, 1)
    assert (zone.blocks, zone.with_unmovable) == (16, 6)
    assert (zone.unmovable_pages.p50, zone.unmovable_pages.most) == (0, 0x40)


def by_name(report: ContiguityReport) -> dict[tuple[str, str, str], tuple[int, int, int, int]]:
    return {
        (row.kind, row.name, row.remedy): (row.alone, row.blocks, row.pages, row.misplaced)
        for row in report.blockers
    }


def test_owners_in_the_way(made: BlockedPages) -> None:
    report = found(made)
    assert by_name(report) == {
        # Dentries are two caches of this name here: their rows are one.
        ("slab", "dentry", "reclaim"): (1, 2, 0x48, 0x48),
        ("table", "bash[812]", ""): (1, 2, 0x50, 0x50),
        ("file", "/c", "unpin"): (1, 1, 1, 1),
        ("vmalloc", "nft_chain_add", ""): (1, 1, 4, 4),
        ("unknown", "idle, order 0, 0 references", ""): (1, 1, 0x10, 0x10),
        # A block with reserved pages is not free in any case.
        ("slab", "inode", ""): (0, 2, 0x28, 0x28),
    }
    assert [row.alone for row in report.blockers] == [1, 1, 1, 1, 1, 0]
    pfns = {(row.kind, row.name): row.ranges for row in report.blockers}
    assert pfns["file", "/c"] == ((PINNED, PINNED + 1),)
    assert pfns["vmalloc", "nft_chain_add"] == ((0x100, 0x104),)
    assert pfns["slab", "dentry"] == ((0x80, 0xC0), (0x1C0, 0x1C8))
    uses = {(row.kind, row.remedy): (row.alone, row.blocks, row.pages) for row in report.uses}
    assert uses == {
        ("idle", ""): (1, 1, 0x10),
        ("slab", "reclaim"): (1, 2, 0x48),
        ("slab", ""): (0, 2, 0x28),
        ("table", ""): (1, 2, 0x50),
        ("file", "unpin"): (1, 1, 1),
        ("kernel", ""): (1, 1, 4),
    }


def test_misplaced_are_pages_in_movable_pageblocks(made: BlockedPages) -> None:
    assert made.pageblocks is not None
    made.pageblocks.types[0, 0] = made.pageblocks.names.index("unmovable")
    assert {row.misplaced for row in found(made).blockers} == {0}


def test_a_batch_explains_the_references_of_its_own_folios_alone(made: BlockedPages) -> None:
    made.memory.word(READ + 1, 0xFFFFFFFF, 2).word(READ - 1, 0xFFFFFFFF, 2)
    pfns = {(row.kind, row.name): row.ranges for row in found(made).blockers}
    assert pfns["file", "/c"] == ((PINNED, PINNED + 1), (READ - 1, READ), (READ + 1, READ + 2))


def test_pages_are_listed_only_if_asked_for(made: BlockedPages) -> None:
    assert not any(row.ranges for row in found(made, pfns=False).blockers)


def test_pageblocks_and_free_memory(made: BlockedPages) -> None:
    report = found(made)
    types = {row.type: (row.blocks, row.pages) for row in report.types}
    # 0xE0 + 0x20 + 0x1C + ... of files, all of the second pageblock is free.
    assert types["movable"] == (1, (0, 0x30 + 0x40 + 0x3F + 0x3C + 0x20, 0x48, 0x8D, 0x20))
    assert sum(types["movable"][1]) == 0x200
    assert types["unmovable"] == (1, (0x200, 0, 0, 0, 0))
    free = {row.order: row.free_blocks for row in report.indexes}
    assert free == {order: int(order == 9) for order in range(11)}


def test_without_an_order_blocks_are_pageblocks_and_larger(made: BlockedPages) -> None:
    report = found(made, None)
    assert report.order == report.pageblock_order == 9
    assert [zone.order for zone in report.blocks] == [*range(9, 19)]
    first, second, *_ = report.blocks
    assert (first.free, first.reserved, first.blocks) == (1, 1, 2)
    assert (second.free, second.reserved, second.blocks) == (0, 1, 1)
    # The only block that is not free has reserved pages.
    assert {row.alone for row in report.blockers} == {0}


@pytest.mark.parametrize("order", [3, 8, 9, 10, 18])
def test_all_pages_are_in_blocks_of_any_order(made: BlockedPages, order: int) -> None:
    report = found(made, order)
    (zone,) = report.blocks
    assert zone.blocks == max(1, PAGES >> order)
    assert zone.order == report.order == order
    assert sum(row.pages for row in report.blockers) == 0x48 + 0x8D
    assert sum(sum(row.pages) for row in report.types) == PAGES


def test_pieces_of_a_walk_add_up(made: BlockedPages) -> None:
    def fold(inspector: Any, _wanted: Any, work: Any) -> Iterator[Any]:
        for start in range(0, PAGES, 0x200):
            yield work(inspector, [(start, start + 0x200)])

    for order in (ORDER, 9):
        whole = found(made, order).to_json()
        parts = find_contiguity(made.inspector(), fold=fold, order=order)
        assert parts.to_json() == whole


def test_pages_outside_all_zones_are_in_no_block(made: BlockedPages) -> None:
    # Their flags name a node that this kernel does not have.
    made.memory.words[0x40:0x80, 0] |= np.uint64(3 << 54)
    (zone,) = found(made).blocks
    assert (zone.blocks, zone.movable) == (15, 0)


def test_a_kernel_without_pageblock_flags(
    made: BlockedPages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_prog: Any) -> Pageblocks:
        raise MissingStructureError("this kernel has no known pageblock flags", "")

    monkeypatch.setattr(sweep, "read_pageblocks", missing)
    report = found(made)
    assert report.types == ()
    assert "pageblocks: this kernel has no known pageblock flags." in report.coverage.missing
    assert not report.coverage.complete
    assert {row.misplaced for row in report.blockers} == {0}


def test_what_could_not_be_read_is_reported(made: BlockedPages) -> None:
    assert made.pageblocks is not None
    made.pageblocks = replace(made.pageblocks, unreadable=2)
    made.batches = replace(made.batches, unreadable=1)
    missing = found(made).coverage.missing
    assert "pageblocks of memory sections: 2 could not be read or are invalid." in missing
    assert "folio batches: 1 could not be read or are invalid." in missing


def test_vmcoreinfo_alone_is_not_enough(made: BlockedPages) -> None:
    made.layout = replace(made.layout, unavailable=("slab",))
    with pytest.raises(PageInspectError, match="VMCOREINFO alone"):
        found(made)


def test_the_method(made: BlockedPages) -> None:
    kernel = made.inspector()
    assert kernel.contiguity(order=ORDER, top=2).to_dict()["order"] == ORDER
    assert len(kernel.contiguity(order=ORDER, top=2).to_dict()["blockers"]) == 2
    json.dumps(kernel.contiguity().to_dict())
    for order in (2, 19):
        with pytest.raises(UsageError, match=f"cannot have the order {order}"):
            kernel.contiguity(order=order)
    assert check_order(3) == 3
