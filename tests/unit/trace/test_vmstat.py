# SPDX-License-Identifier: GPL-2.0-only
"""Counters of /proc/vmstat beside those of a program."""

from pathlib import Path

from pageinspect.trace.held_blocks import BesideVmstat
from pageinspect.trace.vmstat import read_beside, vmstat_pages


def test_pages_by_the_counters_of_vmstat() -> None:
    text = "pgalloc_dma 1\npgalloc_dma32 20\npgalloc_normal 300\npgfree 7\npgfree_other 9\n"
    assert vmstat_pages(text) == (321, 7)


def test_the_reading_in_which_least_happened_counts(tmp_path: Path) -> None:
    vmstat = tmp_path / "vmstat"
    vmstat.write_text("pgalloc_dma 1\npgalloc_normal 9\npgfree 4\n")
    counts = iter([(0, 0), (90, 10), (100, 10), (104, 12), (200, 20), (300, 30), *[(0, 0)] * 2])
    assert read_beside(lambda: next(counts), vmstat) == BesideVmstat(10, 4, 0, 0)
    busy = iter([(0, 0), (90, 10), (100, 10), (104, 12), *[(200, 20), (300, 30)] * 14])
    assert read_beside(lambda: next(busy), vmstat) == BesideVmstat(10, 4, 102, 11)
    assert list(busy) == []
