# SPDX-License-Identifier: GPL-2.0-only
"""What tracepoints report about pages: the records of bpf/page_life.h, and their plain form."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from ..model.layout import PageLayout


class LifePoint(NamedTuple):
    """A tracepoint that reports pages."""

    function: str
    """The function of bpf/page_life.bpf.c."""
    tracepoint: str
    event: str
    """What it reports, as reports name it."""
    needed: bool = False
    """Whether every kernel that can be traced has it; others are left out where they are not."""


POINTS = (
    LifePoint("on_alloc", "mm_page_alloc", "allocated", needed=True),
    LifePoint("on_free", "mm_page_free", "freed", needed=True),
    LifePoint("on_refill", "mm_page_alloc_zone_locked", "to a CPU's list"),
    LifePoint("on_drain", "mm_page_pcpu_drain", "to the free lists"),
    LifePoint("on_fallback", "mm_page_alloc_extfrag", "taken from another migratetype"),
    LifePoint("on_cached", "mm_filemap_add_to_page_cache", "added to the page cache"),
    LifePoint("on_uncached", "mm_filemap_delete_from_page_cache", "removed from the page cache"),
    LifePoint("on_listed", "mm_lru_insertion", "added to an LRU list"),
    LifePoint("on_activated", "mm_lru_activate", "activated"),
    LifePoint("on_dirtied", "writeback_dirty_folio", "dirtied"),
    LifePoint("on_reclaim_written", "mm_vmscan_write_folio", "written by reclaim"),
    LifePoint("on_migration_begun", "set_migration_pte", "unmapped to migrate"),
    LifePoint("on_migration_ended", "remove_migration_pte", "mapped after migration"),
    LifePoint("on_huge_migration_begun", "set_migration_pmd", "unmapped to migrate"),
    LifePoint("on_huge_migration_ended", "remove_migration_pmd", "mapped after migration"),
    LifePoint("on_pool_taken", "page_pool_state_hold", "taken by a page_pool"),
    LifePoint("on_pool_given", "page_pool_state_release", "released by a page_pool"),
    LifePoint(
        "on_collapsed", "mm_collapse_huge_page_isolate", "isolated to be part of a huge page"
    ),
    LifePoint("on_ksm_merged", "ksm_merge_one_page", "merged by KSM"),
    LifePoint("on_ksm_removed", "ksm_remove_ksm_page", "removed from KSM"),
    LifePoint("on_failed", "memory_failure_event", "memory failure"),
    LifePoint("on_range_isolated", "test_pages_isolated", "isolated with its range"),
)
"""In the order of enum what of bpf/page_life.h."""
ALLOCATED, FREED = "allocated", "freed"

NEVER_SEEN = (
    "pages of the bulk allocator, of contiguous ranges and of compaction when they are taken",
    "splits of folios",
    "migrations of pages that no process maps, except as an allocation and a free",
    "who maps a page, and anonymous pages' swap cache",
)
"""What no tracepoint reports of single pages."""

LIFE_EVENT = np.dtype(
    [
        ("time_ns", np.uint64),
        ("page", np.uint64),
        ("end", np.uint64),
        ("inode", np.uint64),
        ("index", np.uint64),
        ("device", np.uint32),
        ("what", np.uint32),
        ("gfp", np.uint32),
        ("migratetype", np.int32),
        ("page_type", np.uint32),
        ("stack", np.int32),
        ("pid", np.uint32),
        ("cpu", np.uint32),
        ("comm", "S16"),
    ]
)
"""struct life_event of bpf/page_life.h."""
MOST_KEPT = 1 << 18
"""Events that a run keeps for its report; the others are counted as lost."""
LOSSES = 2
_OF_FILES = frozenset({"on_cached", "on_uncached"})


class File(NamedTuple):
    """A page of the page cache."""

    device: int
    """As the kernel has it: major << 20 | minor."""
    inode: int
    offset: int
    """In pages."""


@dataclass(frozen=True, slots=True)
class LifeEvent:
    """What one tracepoint reported about some pages."""

    time_ns: int
    """Nanoseconds since tracing began."""
    what: str
    """The `event` of one of POINTS."""
    pfn: int
    pages: int
    gfp: int | None
    migratetype: int | None
    word: int | None
    """The page_type word of the first page, of allocations and frees."""
    file: File | None
    stack: int
    """Id of the stack in the map `stacks`, -1 if it was lost."""
    pid: int
    cpu: int
    comm: str


def life_events_of(layout: PageLayout, records: Sequence[bytes], start_ns: int) -> list[LifeEvent]:
    """Return the events in records of the ring buffer, in their order.

    `start_ns` is the CLOCK_MONOTONIC time at which tracing began.
    """
    return [
        _event(layout, record, start_ns)
        for record in np.frombuffer(b"".join(records), LIFE_EVENT).tolist()
    ]


def _event(layout: PageLayout, record: Any, start_ns: int) -> LifeEvent:
    time_ns, page, end, inode, index, device, what, gfp, migratetype, word, *who = record
    point = POINTS[what]
    stack, pid, cpu, comm = who
    return LifeEvent(
        time_ns - start_ns,
        point.event,
        (page - layout.vmemmap) // layout.struct_size,
        (end - page) // layout.struct_size,
        gfp if point.event == ALLOCATED else None,
        migratetype if migratetype >= 0 else None,
        word if point.event in (ALLOCATED, FREED) else None,
        File(device, inode, index) if point.function in _OF_FILES else None,
        stack,
        pid,
        cpu,
        comm.decode("utf-8", "replace"),
    )


@dataclass(frozen=True, slots=True)
class LifeLost:
    """Counts of what is missing from the events, by cause."""

    missed: int = 0
    """Events in an interrupt of the program itself: the kernel skips the program then."""
    stacks: int = 0
    """Stacks that did not fit into the map `stacks`."""
    events: int = 0
    """Events that did not fit into the ring buffer."""
    unkept: int = 0
    """Events above MOST_KEPT."""

    @property
    def total(self) -> int:
        """Sum over all causes."""
        return sum(self.to_json().values())

    def to_json(self) -> dict[str, int]:
        """Return the JSON form: by cause."""
        return asdict(self)

    def __sub__(self, earlier: "LifeLost") -> "LifeLost":
        return LifeLost(
            self.missed - earlier.missed,
            self.stacks - earlier.stacks,
            self.events - earlier.events,
            self.unkept - earlier.unkept,
        )
