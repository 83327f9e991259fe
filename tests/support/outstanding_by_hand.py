# SPDX-License-Identifier: GPL-2.0-only
"""Reports of trace --outstanding made by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from held_by_hand import SECOND, blocks
from synthetic import MODERN
from trace_reports import KERNEL

from pageinspect.model.gfp import GfpNames
from pageinspect.model.owner_names import OwnerName
from pageinspect.owners.table import NUMBER
from pageinspect.report.allocation_keys import KeyNames
from pageinspect.report.outstanding import OutstandingReport, OutstandingSubject
from pageinspect.report.outstanding_rows import PageOwners
from pageinspect.trace.held_blocks import (
    BesideVmstat,
    HeldBlocks,
    HeldCounts,
    HeldOptions,
    HeldReading,
    Missed,
)
from pageinspect.trace.stacks import ALLOCATING_PATH, Stacks

TRACER = 77
ADDRESSES = {1: [9, 1, 2, 5], 2: [9, 1, 3, 2, 6], 3: [9, 1, 2, 5, 6]}
NAMES = {
    1: "__alloc_frozen_pages_noprof",
    2: "alloc_pages_noprof",
    3: "new_slab",
    5: "leak [driver]",
    6: "open\x1b",
    9: "bpf_trace_run4",
}
HELD_BLOCKS = blocks(
    (0x10, 0, {"stack": 1, "pid": 5, "comm": b"sh", "gfp": 0xCC0, "migratetype": 0}),
    (0x11, 0, {"stack": 3, "pid": 5, "comm": b"sh", "gfp": 0xCC0, "migratetype": 0}),
    (0x20, 3, {"stack": 2, "pid": 6, "comm": b"cat", "time_ns": 7 * SECOND, "migratetype": 1}),
    (0x30, 1, {"stack": 2, "pid": 6, "freed": 1, "migratetype": -1}),
    (0x40, 0, {"stack": 1, "pid": TRACER}),
)


def names(kind: str, keys: Sequence[int]) -> list[OwnerName]:
    return [OwnerName({"slab": f"cache-{key}"}.get(kind, "")) for key in keys]


def owners(held: HeldBlocks, **of_pfn: tuple[str, int]) -> PageOwners:
    """Say what some pages are, by p and their pfn; all others are unknown."""
    pfns, of_block = held.each_page()
    found = [of_pfn.get(f"p{pfn:x}", ("unknown", 0)) for pfn in pfns.tolist()]
    kinds = np.array([NUMBER[kind] for kind, _ in found], np.int16)
    return PageOwners(of_block, kinds, np.array([k for _, k in found], np.uint64), names)


def outstanding(
    held: HeldBlocks = HELD_BLOCKS,
    by: tuple[str, ...] = ("caller",),
    found: dict[str, tuple[str, int]] | None = None,
    missed: Missed | None = None,
    counts: HeldCounts | None = None,
    **subject: Any,
) -> OutstandingReport:
    reading = HeldReading(
        held,
        counts or HeldCounts(allocations=9, allocated_pages=20, frees=4, freed_pages=5, known=1),
        missed or Missed(),
        BesideVmstat(30, 15, 25, 14) - BesideVmstat(10, 10, 5, 9),
        sees_bulk=True,
        sees_contiguous=True,
    )
    stacks = Stacks(ADDRESSES.__getitem__, NAMES.__getitem__, ALLOCATING_PATH)
    names = KeyNames(stacks, ("unmovable", "movable"), GfpNames(((0xCC0, "GFP_KERNEL"),)))
    asked = OutstandingSubject(
        *(KERNEL, MODERN, HeldOptions(by=by), names),
        tracer=TRACER,
        **subject,
    )
    given = owners(held, **(found or {}))
    return OutstandingReport.of(asked, reading, given, (0, 2 * SECOND, 10 * SECOND))
