# SPDX-License-Identifier: GPL-2.0-only
"""Lives of pages, and allocations with a type, made by hand."""

import numpy as np
from synthetic import MODERN
from trace_reports import KERNEL, TABLE, counts

from pageinspect.model.gfp import GfpNames
from pageinspect.report.alloc_types import AllocTypesReport
from pageinspect.report.life import LifeReport, LifeSubject, NowPage
from pageinspect.trace.life_records import (
    LIFE_EVENT,
    POINTS,
    LifeEvent,
    LifeLost,
    life_events_of,
)
from pageinspect.trace.options import Filters
from pageinspect.trace.records import Interval, Who
from pageinspect.trace.stacks import ALLOCATING_PATH, Stacks

START_NS = 1_000_000_000
ADDRESSES = {
    7: [1, 2, 3],
    8: [1, 4, 5, 6],
}
NAMES = {
    1: "bpf_trace_run4",
    2: "__alloc_frozen_pages_noprof",
    3: "take [lives]",
    4: "__free_pages",
    5: "give [lives]",
    6: "write",
}


def named(*, allocating: bool = False) -> Stacks:
    path = (ALLOCATING_PATH,) if allocating else ()
    return Stacks(ADDRESSES.__getitem__, NAMES.__getitem__, *path)


def packed(tracepoint: str, pfn: int, pages: int = 1, **fields: int) -> bytes:
    """Return a record as the program writes it."""
    record = np.zeros(1, LIFE_EVENT)
    first = MODERN.vmemmap + pfn * MODERN.struct_size
    record["page"], record["end"] = first, first + pages * MODERN.struct_size
    record["what"] = [point.tracepoint for point in POINTS].index(tracepoint)
    record["migratetype"], record["stack"], record["comm"] = -1, -1, b"sh\x1b"
    record["pid"], record["cpu"], record["time_ns"] = 42, 1, START_NS
    for name, value in fields.items():
        record[name] = value
    return record.tobytes()


UNSET, STILL_TABLE = 0xFFFFFFFF, TABLE << 24
RECORDS = [
    packed(
        *("mm_page_alloc", 0x40, 8),
        gfp=0xCC0,
        migratetype=0,
        page_type=UNSET,
        stack=7,
        time_ns=START_NS + 1_000,
    ),
    packed(
        *("mm_filemap_add_to_page_cache", 0x41),
        inode=1 << 40,
        index=3,
        device=8 << 20 | 1,
        time_ns=START_NS + 2_000,
    ),
    packed(
        *("mm_page_free", 0x40, 8),
        page_type=STILL_TABLE,
        stack=8,
        time_ns=START_NS + 3_000,
    ),
]


def events() -> tuple[LifeEvent, ...]:
    return tuple(life_events_of(MODERN, RECORDS, START_NS))


def life(
    *,
    stacks: bool = False,
    lost: LifeLost | None = None,
    now: tuple[NowPage, ...] = (),
    quiet: bool = False,
) -> LifeReport:
    subject = LifeSubject(
        KERNEL,
        MODERN,
        Filters(pfns=((0x40, 0x48),)),
        ("unmovable", "movable"),
        named(),
        named(allocating=True),
        with_stacks=stacks,
        seen=("mm_page_alloc", "mm_page_free"),
        lacking=("ksm_merge_one_page",),
        never_seen=("splits of folios",),
        gfp=GfpNames(((0xCC0, "GFP_KERNEL"),)),
    )
    reading = Interval(lost or LifeLost(), 0, 1_500_000_000)
    return LifeReport(subject, () if quiet else events(), reading, now)


def allocations(typed: int = 0, *, stacks: bool = False, missed: int = 0) -> AllocTypesReport:
    """Make a report of 10 pages without a type, and of blocks of order 2 that are still `table`."""
    who = {Who(TABLE, 2, 7, 0, 0, 0, 0, ""): typed} if typed else {}
    given = counts({(TABLE, 2): typed}, {0: 10}, who, missed=missed)
    reading = Interval(given, 0, 1_500_000_000)
    return AllocTypesReport(
        KERNEL, MODERN, Filters(), reading, named(allocating=True), with_stacks=stacks
    )
