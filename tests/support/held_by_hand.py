# SPDX-License-Identifier: GPL-2.0-only
"""Blocks of trace --outstanding made by hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from pageinspect.trace.held_blocks import HELD, ORDER_BITS, HeldBlocks

SECOND = 10**9


def blocks(*rows: tuple[int, int, dict[str, Any]]) -> HeldBlocks:
    """Make blocks of (pfn, order, members of HELD); a block without a time is one second old."""
    keys = np.array([pfn << ORDER_BITS | order for pfn, order, _ in rows], np.uint64)
    records = np.zeros(len(rows), HELD)
    for record, (_, _, members) in zip(records, rows, strict=True):
        record["time_ns"] = 9 * SECOND
        for name, value in members.items():
            record[name] = value
    return HeldBlocks.of(keys, records)


def pairs(held: HeldBlocks, chosen: Sequence[bool] | None = None) -> list[tuple[int, int]]:
    """Return (pfn, order) of the blocks, or of some of them."""
    found = list(zip(held.pfns.tolist(), held.orders.tolist(), strict=True))
    return found if chosen is None else [p for p, c in zip(found, chosen, strict=True) if c]
