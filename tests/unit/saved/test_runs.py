# SPDX-License-Identifier: GPL-2.0-only
"""Runs of a snapshot as rows: codes of names, parts of runs, pageblocks, and damaged tables."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from saved_tables import KERNEL, run, table

from pageinspect.classify import Code, use_name
from pageinspect.classify.uses import USE
from pageinspect.errors import PageInspectError
from pageinspect.model.page_types import BITS_5_11, low_scheme, memdesc_scheme
from pageinspect.model.pageblocks import UNKNOWN
from pageinspect.model.saved_kernel import SavedKernel
from pageinspect.saved.kernel import layout_of
from pageinspect.saved.runs import NO_MOBILITY, SavedRuns, runs_of_table

IDS = np.arange(3)


def runs_of(*rows: dict[str, Any], kernel: SavedKernel = KERNEL) -> SavedRuns:
    spanned = sum(row["pages"] for row in rows)
    return runs_of_table(table("runs", rows), kernel, layout_of(kernel), IDS, spanned)


def test_names_become_the_codes_of_this_kernel() -> None:
    runs = runs_of(
        run(0, 1, use="buddy", type="buddy", mobility="free"),
        run(1, 2, use="anon", untyped="mapped", mobility="movable", remedy="move"),
        run(3, 1, use="idle", untyped="odd", zone="zone 5", node=7, migratetype=None),
        run(4, 1, use="slab", type="slab", owner=2, freeing=True, mobility=None),
        run(5, 1, use="hugetlb", type="hugetlb", order=9, zone="Normal"),
        run(6, 4, use="unreadable", type="unreadable", zone=None, node=None),
    )
    assert runs.code.tolist() == [
        *(0xF0, Code.MAPPED, Code.ODD, 0xF5, Code.HUGETLB, Code.UNREADABLE)
    ]
    # The use of typed pages is their type; buddy is a use of its own.
    assert runs.use.tolist() == [
        *(USE["buddy"], USE["anon"], USE["idle"], 0xF5, Code.HUGETLB, USE["unreadable"])
    ]
    assert runs.zone.tolist() == [0, 0, 5, 0, 2, 0]
    assert runs.node.tolist() == [0, 0, 7, 0, 0, 0]
    assert runs.migratetypes.tolist() == [1, 1, UNKNOWN, 1, 1, 1]
    assert runs.mobility.tolist() == [0, 1, 3, NO_MOBILITY, 3, 3]
    assert runs.remedies.tolist() == [0, 2, 0, 0, 0, 0]
    assert runs.owners.tolist() == [0, 0, 0, 2, 0, 0]
    assert runs.freeing.tolist() == [False, False, False, True, False, False]
    assert runs.readable.tolist() == [True] * 5 + [False]
    assert (runs.unreadable, runs.wanted, len(runs)) == (4, None, 6)


def test_a_type_with_the_name_of_a_use_keeps_its_code() -> None:
    kernel = replace(KERNEL, scheme=memdesc_scheme({"anon": 3, "slab": 1}))
    runs = runs_of(
        run(0, 1, use="anon", type="anon"), run(1, 1, use="anon", untyped="mapped"), kernel=kernel
    )
    assert runs.use.tolist() == [3, USE["anon"]]
    assert {use_name(runs.layout, use) for use in runs.use.tolist()} == {"anon"}


def test_types_of_old_kernels_may_be_several() -> None:
    kernel = replace(KERNEL, scheme=low_scheme("bits", BITS_5_11))
    both = run(0, 1, use="offline+table", type="offline+table")
    # Bits 0x100 and 0x200, from bit 7 on.
    assert runs_of(both, kernel=kernel).code.tolist() == [0b110]


PARTS = (
    # A free block of 16 pages in two runs, order-0 folios, the end of a folio of 8, a hole, tails.
    run(0x10, 8, folios=1, order=4),
    run(0x18, 8, folios=0, order=4),
    run(0x20, 10, folios=10),
    run(0x2A, 6, folios=0, order=3),
    run(0x40, 32, folios=4, order=3),
    # An unaligned block of a per-CPU list counts each page.
    run(0x61, 4, folios=4, order=1),
    # Tails of a folio that is not at a multiple of its size.
    run(0x71, 9, folios=0, order=2),
)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([(0x10, 0x40)], [(0x10, 8, 1), (0x18, 8, 0), (0x20, 10, 10), (0x2A, 6, 0)]),
        ([(0x40, 0x70)], [(0x40, 32, 4), (0x61, 4, 4)]),
        ([(0x11, 0x22)], [(0x11, 7, 0), (0x18, 8, 0), (0x20, 2, 2)]),
        ([(0x10, 0x11), (0x12, 0x13)], [(0x10, 1, 1), (0x12, 1, 0)]),
        ([(0x44, 0x51)], [(0x44, 13, 2)]),
        ([(0x41, 0x48), (0x48, 0x49)], [(0x41, 7, 0), (0x48, 1, 1)]),
        ([(0x58, 0x62)], [(0x58, 8, 1), (0x61, 1, 1)]),
        ([(0x72, 0x79)], [(0x72, 7, 0)]),
        ([(0x30, 0x40)], []),
        ([], []),
    ],
)
def test_parts_of_runs(wanted: list[tuple[int, int]], expected: list[tuple[int, int, int]]) -> None:
    found = runs_of(*PARTS).within(wanted)
    columns = (found.pfns.tolist(), found.lengths.tolist(), found.folios.tolist())
    assert list(zip(*columns, strict=True)) == expected
    assert len(found.use) == len(expected)


def test_spanned_pfns_are_those_of_all_runs() -> None:
    assert runs_of(*PARTS).spanned == [(0x10, 0x30), (0x40, 0x60), (0x61, 0x65), (0x71, 0x7A)]


def test_migratetypes_of_pageblocks() -> None:
    runs = runs_of(
        run(0x10, 0x1E0, migratetype="reclaimable"),
        run(0x1F0, 0x10, migratetype=None),
        run(0x200, 0x400, migratetype="movable"),
        run(0x600, 0x10, migratetype=None),
        run(0x10000, 1, migratetype="unmovable"),
    )
    found = runs.pageblocks(9, KERNEL.migratetypes)
    assert (found.order, found.names) == (9, KERNEL.migratetypes)
    pfns = np.array([0, 0x1FF, 0x200, 0x5FF, 0x600, 0x7FFF, 0x8000, 0x10000, 0x101FF, 0x10200])
    u = UNKNOWN
    assert found.of(pfns).tolist() == [2, 2, 1, 1, u, u, u, 0, 0, u]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the table runs is empty"),
        ([run(0, 0)], "column pages"),
        ([run(0, -1)], "column pages"),
        ([run(-1, 1)], "column pfn"),
        ([run(1 << 40, 1)], "column pfn"),
        ([run(0, 1 << 41)], "column pages"),
        ([run(4, 1), run(0, 1)], "column pfn"),
        ([run(0, 1), run((1 << 63) - 1, 1), run(4, 1)], "column pfn"),
        ([run(0, 5), run(4, 1)], "column pfn"),
        ([run(0, 1, folios=2)], "column folios"),
        ([run(0, 1, folios=-1)], "column folios"),
        ([run(0, 1, order=32)], "column order"),
        ([run(0, 1, node=1024)], "column node"),
        ([run(0, 1, node=-1)], "column node"),
        ([run(0, 1, use=None)], "column use"),
        ([run(0, 1, type=None)], "column type"),
        ([run(0, 1, owner=3)], "an owner that the table owners lacks"),
        ([run(0, 1, owner=-1)], "an owner that the table owners lacks"),
    ],
)
def test_damaged_runs_are_refused(rows: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(PageInspectError, match=message) as error:
        runs_of(*rows)
    assert error.value.message.startswith("the snapshot is damaged: ")


@pytest.mark.parametrize("column", ["use", "type", "zone", "migratetype", "mobility", "remedy"])
def test_names_that_are_not_known_are_refused(column: str) -> None:
    with pytest.raises(PageInspectError, match=rf"the {column} 'so\\x1bon' of the") as error:
        runs_of(run(0, 1, **{column: "so\x1bon"}))
    assert "newer version" in error.value.hint


def test_a_table_that_lacks_runs_is_refused() -> None:
    rows = table("runs", [run(0, 4), run(4, 4)])
    with pytest.raises(PageInspectError, match="has 8 pages, and memory has 12") as error:
        runs_of_table(rows, KERNEL, layout_of(KERNEL), IDS, 12)
    assert error.value.message.startswith("the snapshot is damaged: the table runs ")
