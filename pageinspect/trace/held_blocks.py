# SPDX-License-Identifier: GPL-2.0-only
"""Blocks of pages that were allocated and not freed, as arrays: the map of bpf/page_held.h."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..model.arch import MAX_ORDER
from ..model.layout import PageLayout
from .options import Filters

MOST_HELD = 1 << 18
"""Entries of the map, unless another number is given: 1 GiB of single pages."""

_CALLER_DEPTH = 16
"""Frames that contain the caller: those of tracing and of the allocator are fewer.

They are recorded only of allocations whose caller was not found by itself."""
_STACK_DEPTH = 127
"""Maximum frames per stack: PERF_MAX_STACK_DEPTH."""

ORDER_BITS = 4
HELD = np.dtype(
    [
        ("time_ns", np.uint64),
        ("freed", np.uint32),
        ("stack", np.int32),
        ("gfp", np.uint32),
        ("pid", np.uint32),
        ("migratetype", np.int32),
        ("caller", np.int32),
        ("comm", "S16"),
    ]
)
"""struct held of bpf/page_held.h."""


STACK_BITS = 32
"""A caller has as its number its address, less that of the kernel's code, above so many bits."""


def page_base(layout: PageLayout) -> int:
    """Return the address that the program counts struct pages from.

    The address of vmemmap differs from boot to boot, and a compiled program that has it could not
    be kept. It is aligned to more than the largest block, so counting can begin at address 0.
    """
    size = layout.struct_size
    aligned = size & (size - 1) == 0 and layout.vmemmap % (size << MAX_ORDER) == 0
    return 0 if aligned else layout.vmemmap


IN_BULK, ALLOCATED_BEFORE = -1, -2
"""In place of a migratetype: a page of the bulk allocator; one that its caller had before."""

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]


def callers_of(records: npt.NDArray[np.void]) -> Numbers:
    """Return the number of the stack of each record, or that of its caller: see STACK_BITS."""
    callers = records["caller"].astype(np.int64)
    return np.where(callers != 0, callers << STACK_BITS, records["stack"])


@dataclass(frozen=True, slots=True, eq=False)
class HeldBlocks:
    """Blocks that were allocated while tracing and not freed, in arrays of the same length."""

    pfns: Numbers
    """The first pfn of each block."""
    orders: Numbers
    records: npt.NDArray[np.void]
    """HELD records."""

    @classmethod
    def of(cls, keys: npt.NDArray[Any], records: npt.NDArray[Any], first: int = 0) -> Self:
        """Return the blocks of the map's keys and values, in order of pfn and order.

        `first` is the number that a key has for pfn 0.
        """
        keys, rows = np.unique(keys, return_index=True)
        numbers = keys.astype(np.int64)
        orders = numbers & ((1 << ORDER_BITS) - 1)
        return cls((numbers >> ORDER_BITS) - first, orders, records[rows])

    def __len__(self) -> int:
        return len(self.pfns)

    @property
    def pages(self) -> Numbers:
        """The pages of each block that were not freed."""
        left = (np.int64(1) << self.orders) - self.records["freed"].astype(np.int64)
        return np.maximum(left, 0)

    @property
    def callers(self) -> Numbers:
        """The number of the stack of each block, or that of its caller: see STACK_BITS."""
        return callers_of(self.records)

    def where(self, chosen: Mask) -> "HeldBlocks":
        """Return some of the blocks."""
        return HeldBlocks(self.pfns[chosen], self.orders[chosen], self.records[chosen])

    def passing(self, filters: Filters) -> "HeldBlocks":
        """Return the blocks that are allocations of the trace.

        Of pages of the bulk allocator, the program does not check in which range they are, and it
        also has the pages that were in the caller's array before.
        """
        kinds = self.records["migratetype"]
        chosen = kinds != ALLOCATED_BEFORE
        if filters.pfns:
            starts, ends = np.array(sorted(filters.pfns), np.int64).T
            before = np.searchsorted(starts, self.pfns, "right") - 1
            inside = (before >= 0) & (self.pfns < ends[np.maximum(before, 0)])
            chosen &= inside | (kinds != IN_BULK)
        return self.where(chosen)

    def overtaken(self) -> Mask:
        """Return which blocks must have been freed, as their pages were allocated again later.

        Blocks that were freed in part are not among them: others may have those pages.
        """
        times = self.records["time_ns"]
        found = np.zeros(len(self), np.bool_)
        for order in range(1, MAX_ORDER + 1):
            large = np.flatnonzero(self.orders == order)
            small = np.flatnonzero(self.orders < order)
            if not len(large) or not len(small):
                continue
            # Sorted by pfn, and two blocks of one order do not overlap.
            around = self.pfns[small] >> order << order
            at = np.minimum(np.searchsorted(self.pfns[large], around), len(large) - 1)
            inside = self.pfns[large[at]] == around
            whole, part = large[at[inside]], small[inside]
            later = times[part] > times[whole]
            found[whole[later & (self.records["freed"][whole] == 0)]] = True
            found[part[~later]] = True
        return found

    def each_page(self) -> tuple[Numbers, Numbers]:
        """Return the pfns of all blocks in order, and the number of the block that each is of.

        A page of a block that was freed in part may have been allocated again: it is of that
        allocation alone.
        """
        sizes = np.int64(1) << self.orders
        blocks = np.repeat(np.arange(len(self)), sizes)
        first = np.repeat(np.cumsum(sizes) - sizes, sizes)
        pfns = self.pfns[blocks] + (np.arange(len(blocks)) - first)
        by_pfn = np.lexsort((self.orders[blocks], pfns))
        pfns, blocks = pfns[by_pfn], blocks[by_pfn]
        smallest = np.ones(len(pfns), np.bool_)
        smallest[1:] = pfns[1:] != pfns[:-1]
        return pfns[smallest], blocks[smallest]


@dataclass(frozen=True, slots=True)
class HeldCounts:
    """The events of a trace; the members of struct held_counts of bpf/page_held.h."""

    allocations: int = 0
    allocated_pages: int = 0
    failed: int = 0
    """Allocations that got no page."""
    bulk_pages: int = 0
    """Pages of the bulk allocator's fast path, which no tracepoint reports."""
    bulk_lists: int = 0
    """Calls of the bulk allocator that put pages on a list: these are not recorded."""
    bulk_long: int = 0
    """Pages of the bulk allocator past the number that one call records."""
    contiguous: int = 0
    """Allocations of contiguous ranges, which are only counted."""
    contiguous_pages: int = 0
    frees: int = 0
    freed_pages: int = 0
    known: int = 0
    """Frees of whole blocks that were allocated while tracing."""
    known_pages: int = 0
    parts: int = 0
    """Frees of parts of such blocks."""
    part_pages: int = 0
    replaced: int = 0
    """Blocks that were allocated while they were held: their free was not seen."""
    full: int = 0
    """Allocations that did not fit into the map."""
    full_pages: int = 0
    busy: int = 0
    """Allocations and frees that the map refused, because an interrupted program had locked it."""
    stacks: int = 0
    """Stacks that did not fit into the map `stacks`."""

    @classmethod
    def of(cls, words: npt.NDArray[np.uint64]) -> Self:
        """Return the counts of the words of the structure."""
        return cls(*words.tolist())


COUNTS = len(fields(HeldCounts))
"""Words of struct held_counts."""


@dataclass(frozen=True, slots=True)
class HeldOptions:
    """What is recorded of each allocation."""

    filters: Filters = field(default_factory=Filters)
    by: tuple[str, ...] = ("caller",)
    most: int = MOST_HELD
    """Blocks that fit into the map."""

    @property
    def depth(self) -> int:
        """The number of frames to record of each stack."""
        if "stack" in self.by:
            return _STACK_DEPTH
        return _CALLER_DEPTH if "caller" in self.by else 0

    @property
    def finds_callers(self) -> bool:
        """Whether callers are asked for, and no stacks."""
        return "caller" in self.by and "stack" not in self.by

    def defines(self, layout: PageLayout) -> dict[str, str]:
        """Return the -D of bpf/page_held.bpf.c that do not depend on functions of the kernel."""
        found = self.filters.defines(layout) | {
            "MOST_HELD": str(self.most),
            "PAGE_BASE": f"{page_base(layout):#x}ULL",
        }
        if self.depth:
            found["STACK_DEPTH"] = str(self.depth)
        if "comm" in self.by:
            found["BY_COMM"] = "1"
        return found


@dataclass(frozen=True, slots=True)
class Missed:
    """How often the kernel did not run a program, because it already ran on that CPU."""

    allocations: int = 0
    frees: int = 0


@dataclass(frozen=True, slots=True)
class BesideVmstat:
    """Pages by the counters of /proc/vmstat, and as the program saw them."""

    pgalloc: int = 0
    pgfree: int = 0
    allocated: int = 0
    freed: int = 0

    def __sub__(self, earlier: "BesideVmstat") -> "BesideVmstat":
        return BesideVmstat(
            self.pgalloc - earlier.pgalloc,
            self.pgfree - earlier.pgfree,
            self.allocated - earlier.allocated,
            self.freed - earlier.freed,
        )

    def to_json(self) -> dict[str, int]:
        """Return the JSON form."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class HeldReading:
    """What a trace has recorded at one moment."""

    blocks: HeldBlocks
    counts: HeldCounts
    missed: Missed
    compared: BesideVmstat
    """Pages by the kernel's own counters and by those of the program, over the same time."""
    sees_bulk: bool
    """Whether pages of the bulk allocator are recorded."""
    sees_contiguous: bool
    """Whether contiguous ranges are counted."""

    def __sub__(self, _earlier: object) -> Self:
        """Return this reading: what is held now does not depend on an earlier one."""
        return self
