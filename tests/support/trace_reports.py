# SPDX-License-Identifier: GPL-2.0-only
"""Counts of traces made by hand."""

from typing import Any

import numpy as np
from synthetic import MODERN

from pageinspect.cli.trace_output import Watch
from pageinspect.model.layout import PageLayout
from pageinspect.model.provenance import Provenance
from pageinspect.report.event import EventLines
from pageinspect.report.trace import TraceReport
from pageinspect.report.trace_subject import TraceSubject
from pageinspect.trace.kinds import UNTYPED
from pageinspect.trace.options import TraceOptions
from pageinspect.trace.records import WHO, Event, FreeCounts, Interval, Lost, Who, no_counts
from pageinspect.trace.stacks import Stacks

KERNEL = Provenance("7.3.4-test", "live", "btf")
ZSMALLOC, OFFLINE, TABLE = 0xF6, 0xF1, 0xF2


def counts(
    typed: dict[tuple[int, int], int],
    untyped: dict[int, int],
    who: dict[Who, int] | None = None,
    bad_pages: int | None = None,
    **lost: int,
) -> FreeCounts:
    """Make counts of {(kind, order): frees}, {order: frees} and {who: frees}."""
    nothing = no_counts()
    frees = nothing.frees.copy()
    for key, n in typed.items():
        frees[key] = n
    for order, n in untyped.items():
        frees[UNTYPED, order] = n
    packed = {
        np.array(
            [(w.kind, w.order, w.stack, w.pid, w.cpu, w.node << 3 | w.zone, w.comm.encode())], WHO
        ).tobytes(): n
        for w, n in (who or {}).items()
    }
    return FreeCounts(frees, Lost(**lost), packed, nothing.tails.copy(), bad_pages)


def report(
    given: FreeCounts,
    layout: PageLayout = MODERN,
    *,
    options: TraceOptions | None = None,
    start_ns: int = 0,
    status: int | None = None,
    **subject: Any,
) -> TraceReport:
    reading = Interval(given, start_ns, start_ns + 1_500_000_000, command_status=status)
    asked = TraceSubject(KERNEL, layout, options or TraceOptions(), **subject)
    return TraceReport.of(asked, reading)


ZSWAP = Who(ZSMALLOC, 0, 7, 42, 1, 2, 0, "kswapd0")
SHELL = Who(ZSMALLOC, 1, 8, 99, 0, 2, 1, "sh\x1b[1m")
FREED = counts({(ZSMALLOC, 0): 10, (ZSMALLOC, 1): 20}, {0: 5}, {ZSWAP: 10, SHELL: 20})
ADDRESSES = {7: [1, 2, 3, 4], 8: [1, 2, 3, 5]}
NAMES = {1: "bpf_trace_run2", 2: "__free_frozen_pages", 3: "zs_free", 4: "shrink", 5: "reset"}
STACKS = Stacks(ADDRESSES.__getitem__, NAMES.__getitem__)
ZONES = ("DMA", "DMA32", "Normal")


def broken_down(*by: str, stacks: bool = False, **subject: Any) -> TraceReport:
    options = TraceOptions(by=by, stacks=stacks)
    return report(FREED, options=options, stacks=STACKS, zones=ZONES, **subject)


EVENTS = [Event(1, 0x10, ZSWAP), Event(2, 0x11, ZSWAP)]


def watch(argv: list[str], kinds: frozenset[int] = frozenset({ZSMALLOC})) -> Watch:
    return Watch(EventLines(broken_down(stacks=True).subject), kinds, argv)
