# SPDX-License-Identifier: GPL-2.0-only
"""A small memory made by hand, and what a map of it must show, worked out page by page."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from made_snapshots import KERNEL, snapshot

from pageinspect.model.memory_map import Zone
from pageinspect.model.snapshot import Snapshot

RUNS = [
    (0x1, 0x3F, "reserved", 0),
    (0x40, 0x25, "anon", 1),
    (0x65, 0x1, "file", 2),
    (0x66, 0x1A, "buddy", 3),
    (0x80, 0x61, "file", 2),
    (0xE1, 0x1, "unreadable", 4),
    # No struct pages from 0xe2 to 0x400.
    (0x400, 0x80, "slab", 5),
    (0x480, 0x3, "pcp", 3),
    (0x483, 0x7D, "anon", 1),
]
OWNERS = [
    (0, "boot", ""), (1, "anon", "bash[7]"), (2, "file", "/a<b>&c"), (3, "free", ""),
    (4, "unreadable", ""), (5, "slab", "dentry"),
]  # fmt: skip
ZONES = (Zone(0, "DMA", 1, 0x80), Zone(1, "Normal", 0x80, 0x500, 2))


def memory(runs: Any = RUNS, **header: Any) -> Snapshot:
    """Return a snapshot of the memory."""
    kernel = replace(
        KERNEL, zones=ZONES, memory_block_pages=0x40, missing={"owners": (), "contiguity": ()}
    )
    return snapshot(runs, OWNERS, kernel=kernel.to_json(), **header)


def each(runs: Any = RUNS) -> Iterator[tuple[int, str]]:
    """Yield the pfn and use of each page, as `list --each` has them."""
    for pfn, n, use, _ in runs:
        for i in range(n):
            yield pfn + i, use


def majority(first: int, size: int, runs: Any = RUNS) -> tuple[set[str], float]:
    """Return the uses that most pages of a cell have, and their part of it; none without pages."""
    counts = Counter(use for pfn, use in each(runs) if first <= pfn < first + size)
    most = max(counts.values(), default=0)
    return {use for use, n in counts.items() if n == most and n}, most / size


