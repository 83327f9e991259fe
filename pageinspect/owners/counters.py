# SPDX-License-Identifier: GPL-2.0-only
"""Compares the pages of kinds with the kernel's own counters."""

from collections.abc import Mapping

from ..analysis.counter_check import CounterCheck, Marking, compare_counters
from ..analysis.totals import Totals
from ..model.counters import Counters


def compare_owners(
    totals: Totals,
    by_kind: Mapping[str, int],
    before: Counters,
    after: Counters,
    marking: Marking | None = None,
) -> tuple[CounterCheck, ...]:
    """Return the counter checks."""
    return compare_counters(totals, before, after, marking)
