# SPDX-License-Identifier: GPL-2.0-only
"""Rows of blockers of one name, and what people see."""

import io
from dataclasses import replace

import pytest
from every_report import contiguity, obstacles

from pageinspect.analysis.contiguity import FreeIndexes
from pageinspect.render import render
from pageinspect.report.base import Report
from pageinspect.report.contiguity import BlockerRow, ContiguityReport, joined
from pageinspect.report.obstacles import ObstaclesReport


def shown(report: Report) -> str:
    stream = io.StringIO()
    render(report, "table", stream)
    return stream.getvalue()


def test_owners_of_one_name_are_one_row() -> None:
    rows = [
        BlockerRow("slab", "dentry", "reclaim", 9, 3, 2, 1, ((0x40, 0x48), (0x90, 0x91))),
        BlockerRow("slab", "dentry", "reclaim", 2, 2, 1, 0, ((0x50, 0x52),)),
        BlockerRow("slab", "dentry", "reclaim", 1, 1, 1, 1, ((0x20, 0x21),)),
    ]
    pfns = ((0x20, 0x21), (0x40, 0x48), (0x50, 0x52), (0x90, 0x91))
    assert joined(rows) == BlockerRow("slab", "dentry", "reclaim", 12, 6, 4, 2, pfns)
    assert joined(rows[:1]) == rows[0]


def test_80_columns_have_the_references_of_pages_in_the_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    report = obstacles()
    assert isinstance(report, ObstaclesReport)
    rows = tuple(row._replace(name="kmalloc-cg-4k") for row in report.obstacles)
    text = shown(replace(report, obstacles=rows))
    (heading,) = (line for line in text.splitlines() if " use " in line)
    assert heading.split()[-4:] == ["refs", "pins", "extra", "remedy"]
    assert "Left out for the width: end" in text


def test_what_a_state_says_is_above_the_blocks() -> None:
    assert "worst page (reclaim: slabs that shrinkers may free):" in shown(contiguity())


def test_an_order_that_can_be_had_is_not_fragmented() -> None:
    report = contiguity()
    assert isinstance(report, ContiguityReport)
    indexes = (FreeIndexes(0, "DMA", 8, 5, -1000, 250), FreeIndexes(0, "DMA", 9, 0, 786, 1000))
    report = replace(report, indexes=indexes)
    text = shown(report)
    assert "Free memory by order (fits: an allocation of this order succeeds):" in text
    rows = [line.split() for line in text.splitlines() if line.startswith("DMA ")]
    assert ["DMA", "8", "5", "fits", "0.250"] in rows
    assert ["DMA", "9", "0", "0.786", "1.000"] in rows
    (table,) = (table for table in report.tables() if table.name == "indexes")
    assert [row["fragmentation_index"] for row in table.records()] == [-1, 0.786]
