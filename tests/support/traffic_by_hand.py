# SPDX-License-Identifier: GPL-2.0-only
"""Counts of trace --alloc made by hand."""

from typing import Any

import numpy as np
from synthetic import MODERN
from trace_reports import KERNEL, TABLE

from pageinspect.model.gfp import GfpNames
from pageinspect.report.allocation_keys import KeyNames
from pageinspect.report.traffic import TrafficReport, TrafficSubject
from pageinspect.trace.held_blocks import BesideVmstat
from pageinspect.trace.kinds import UNTYPED
from pageinspect.trace.records import ORDERS, Interval
from pageinspect.trace.stacks import ALLOCATING_PATH, Stacks
from pageinspect.trace.traffic_counts import (
    ANONYMOUS,
    SIDES,
    SOURCE,
    TrafficCounts,
    TrafficLost,
    TrafficOptions,
)

SECOND = 10**9
ADDRESSES = {1: [9, 1, 2, 5], 2: [9, 1, 3, 2, 6], 3: [9, 4, 5], 4: [9, 4, 6]}
NAMES = {
    1: "__alloc_frozen_pages_noprof",
    2: "alloc_pages_noprof",
    3: "new_slab",
    4: "__free_pages",
    5: "use [driver]",
    6: "open\x1b",
    9: "bpf_trace_run4",
}
A, F = {"side": 0}, {"side": 1}
SOURCES: tuple[tuple[int, dict[str, Any]], ...] = (
    (8, A | {"stack": 1, "pid": 5, "comm": b"sh", "gfp": 0xCC0}),
    (2, A | {"stack": 2, "pid": 6, "comm": b"cat", "gfp": 0x40, "order": 3, "migratetype": 1}),
    (4, A | {"stack": 2, "pid": 6, "comm": b"cat", "gfp": 0xCC0, "migratetype": -1}),
    (3, F | {"stack": 3, "pid": 5, "comm": b"sh", "kind": ANONYMOUS}),
    (1, F | {"stack": 3, "pid": 7, "comm": b"rcu", "kind": TABLE, "order": 1}),
    (6, F | {"stack": 4, "pid": 6, "comm": b"cat", "kind": UNTYPED}),
)
"""(times, members of SOURCE)"""


def traffic_counts(
    *sources: tuple[int, dict[str, Any]],
    lost: TrafficLost | None = None,
    sees_bulk: bool = True,
) -> TrafficCounts:
    """Make counts of (times, members of SOURCE)."""
    found: dict[bytes, int] = {}
    sides = np.zeros((SIDES, ORDERS), np.int64)
    for times, members in sources:
        record = np.zeros(1, SOURCE)
        for name, value in members.items():
            record[name] = value
        found[record.tobytes()] = times
        sides[record["side"], record["order"]] += times
    compared = BesideVmstat(29, 11, 28, 11)
    return TrafficCounts(found, sides, lost or TrafficLost(), compared, sees_bulk)


def traffic(
    counts: TrafficCounts | None = None,
    by: tuple[str, ...] = ("caller",),
    times: tuple[int, int] = (0, 2 * SECOND),
    addresses: dict[int, list[int]] = ADDRESSES,
    **subject: Any,
) -> TrafficReport:
    """Make the report of counts, by default those of SOURCES in two seconds."""
    names = KeyNames(
        Stacks(addresses.__getitem__, NAMES.__getitem__, ALLOCATING_PATH),
        ("unmovable", "movable"),
        GfpNames(((0xCC0, "GFP_KERNEL"), (0x40, "__GFP_IO"))),
    )
    freeing = Stacks(addresses.__getitem__, NAMES.__getitem__)
    asked = TrafficSubject(KERNEL, MODERN, TrafficOptions(by=by), names, freeing, **subject)
    reading = Interval(traffic_counts(*SOURCES) if counts is None else counts, *times)
    return TrafficReport.of(asked, reading)
