# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: pageinspect's live walk against /proc/kpageflags, pfn by pfn.

Reads kpageflags, walks, reads kpageflags again, and compares where the two reads agree; and all
once more. Prints one JSON object: {"spanned", "stable", "seen": {bit: pages}, "differ": [[pfn, bit,
kernel, ours], …]}, where "differ" has the pages that did so both times.
"""

import ctypes
import json
import sys
from pathlib import Path

import numpy as np
from lru_uses import USES, by_kernel

from pageinspect.classify import CODES, USE_CODES, codes_of, uses_of
from pageinspect.inspector.inspector import inspect
from pageinspect.target.open import open_target

BITS = {"slab": 7, "buddy": 10, "hugetlb": 17, "offline": 23, "table": 26}
NOPAGE = 20
ONE = np.uint64(1)
BY_OWN_WORD = ("table", "offline")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def read_kpageflags(into: np.ndarray) -> None:
    with Path("/proc/kpageflags").open("rb", buffering=0) as file:
        view = memoryview(into).cast("B")
        while len(view):
            n = file.readinto(view[: 1 << 20])
            if not n:
                break
            view = view[n:]


def keep_freed_memory() -> None:
    """Have malloc give nothing back: a page that the walk takes and frees is in neither reading."""
    libc = ctypes.CDLL(None)
    for parameter, value in ((M_MMAP_THRESHOLD, 32 << 20), (M_TRIM_THRESHOLD, 1 << 30)):
        libc.mallopt(parameter, value)


def main() -> None:
    keep_freed_memory()
    asked = inspect(open_target())
    end = asked.memory_map.spanned[-1][1]
    # Touched before, so that neither read nor walk changes what it looks at more than it must.
    before, after = np.ones(end, np.uint64), np.ones(end, np.uint64)
    ours = np.full(end, CODES, np.uint16)
    uses = np.zeros(end, np.uint16)
    heads = np.ones(end, np.bool_)
    found: dict[str, np.ndarray] = {}
    seen: dict[str, int] = {}
    examples: list[list[object]] = []
    stable = np.zeros(end, np.bool_)

    def compare(name: str, kernel: np.ndarray, mine: np.ndarray, compared: np.ndarray) -> None:
        seen[name] = int((kernel & compared).sum())
        differ = np.flatnonzero((kernel != mine) & compared)
        found[name] = np.intersect1d(differ, found.get(name, differ))
        examples.extend(
            [int(pfn), name, bool(kernel[pfn]), bool(mine[pfn])] for pfn in found[name][:200]
        )

    # Twice: what the walk takes is taken afterwards, and a page that was something else between
    # two readings once, as one of a batch that a CPU's list gave back and took again, is so once.
    for _ in range(2):
        read_kpageflags(before)
        for pages in asked.pages():
            ours[pages.pfns] = pages.code
            uses[pages.pfns] = pages.use
            heads[pages.pfns] = pages.head
        read_kpageflags(after)
        examples.clear()
        stable = (before == after) & (ours != CODES) & (before >> np.uint64(NOPAGE) & ONE == 0)
        # Up to v6.16 the kernel reports a table's or an offline page's tails by their own words; a
        # type stands on the head alone.
        by_head = asked.layout.resets
        for name, bit in BITS.items():
            kernel = (before >> np.uint64(bit) & ONE).astype(bool)
            mine = np.append(codes_of(asked.layout, name), False)[ours]
            compare(name, kernel, mine, stable & (heads | by_head | (name not in BY_OWN_WORD)))
        for name, kernel in by_kernel(before).items():
            mine = np.zeros(USE_CODES, np.bool_)
            for use in USES[name]:
                mine |= uses_of(asked.layout, use)
            # What is on no LRU list the kernel's flags leave open.
            compare(name, kernel, kernel & mine[uses], stable)
    spanned = asked.memory_map.spanned_pages
    result = {"spanned": spanned, "stable": int(stable.sum()), "seen": seen, "differ": examples}
    json.dump(result, sys.stdout)


main()
