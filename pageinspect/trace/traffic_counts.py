# SPDX-License-Identifier: GPL-2.0-only
"""Allocations and frees by who did them, as arrays: the maps of bpf/page_traffic.h."""

from dataclasses import asdict, dataclass, field
from typing import Self

import numpy as np
import numpy.typing as npt

from ..model.layout import PageLayout
from .held_blocks import BesideVmstat, HeldOptions
from .kinds import KINDS, UNREAD, kind_name
from .options import Filters
from .records import ORDERS

SOURCE = np.dtype(
    [
        ("side", np.uint32),
        ("order", np.uint32),
        ("kind", np.uint32),
        ("stack", np.int32),
        ("pid", np.uint32),
        ("gfp", np.uint32),
        ("migratetype", np.int32),
        ("caller", np.int32),
        ("comm", "S16"),
    ]
)
"""struct source of bpf/page_traffic.h."""
ALLOCATED, FREED = 0, 1
SIDES = 2
ANONYMOUS = KINDS
"""The kind of a page without a type whose mapping has the tag of anonymous memory."""
TRAFFIC_LOSSES = 3

_SWITCHES = ("comm", "pid", "gfp", "migratetype")
"""Keys that the program records only if they are asked for."""


@dataclass(frozen=True, slots=True)
class TrafficOptions:
    """What is counted by."""

    filters: Filters = field(default_factory=Filters)
    by: tuple[str, ...] = ("caller",)

    @property
    def depth(self) -> int:
        """The number of frames to record of each stack."""
        return HeldOptions(by=self.by).depth

    @property
    def finds_callers(self) -> bool:
        """Whether callers are asked for, and no stacks."""
        return HeldOptions(by=self.by).finds_callers

    def defines(self, layout: PageLayout) -> dict[str, str]:
        """Return the -D of bpf/page_traffic.bpf.c that do not depend on functions of the kernel."""
        found = self.filters.defines(layout)
        if self.depth:
            found["STACK_DEPTH"] = str(self.depth)
        if layout.mapping is not None:
            found["MAPPING_OFFSET"] = str(layout.mapping)
        return found | {f"BY_{key.upper()}": "1" for key in _SWITCHES if key in self.by}


def use_name(layout: PageLayout, kind: int) -> str:
    """Return what a freed page still was: its type, `anonymous`, `untyped` or `unreadable`."""
    if kind == ANONYMOUS:
        return "anonymous"
    return "unreadable" if kind == UNREAD else kind_name(layout, kind)


@dataclass(frozen=True, slots=True)
class TrafficLost:
    """Counts of what is missing, by cause."""

    missed_allocations: int = 0
    """Allocations in an interrupt of the tracer's own program, which the kernel did not run."""
    missed_frees: int = 0
    sources: int = 0
    """Events that are in no row: the map of rows was full or locked."""
    stacks: int = 0
    """Stacks that did not fit."""
    bulk: int = 0
    """Calls of the bulk allocator with arrays that were not looked at as a whole."""

    @property
    def total(self) -> int:
        """Sum over all causes."""
        return sum(self.to_json().values())

    def to_json(self) -> dict[str, int]:
        """Return the JSON form: by cause."""
        return asdict(self)

    def __sub__(self, earlier: "TrafficLost") -> "TrafficLost":
        before = earlier.to_json()
        return TrafficLost(**{name: n - before[name] for name, n in self.to_json().items()})


@dataclass(frozen=True, slots=True, eq=False)
class TrafficCounts:
    """Allocations and frees since the program was attached."""

    sources: dict[bytes, int]
    """Allocations or frees of each SOURCE record."""
    sides: npt.NDArray[np.int64]
    """(SIDES, ORDERS) all allocations and all frees, also those that are in no source."""
    lost: TrafficLost
    compared: BesideVmstat
    """Pages by the kernel's own counters and by those of the program, over the same time."""
    sees_bulk: bool
    """Whether pages of the bulk allocator's fast path are counted."""

    def __sub__(self, earlier: Self) -> "TrafficCounts":
        left = {key: n - earlier.sources.get(key, 0) for key, n in self.sources.items()}
        return TrafficCounts(
            {key: n for key, n in left.items() if n},
            self.sides - earlier.sides,
            self.lost - earlier.lost,
            self.compared - earlier.compared,
            self.sees_bulk,
        )

    def of_side(self, side: int) -> tuple[npt.NDArray[np.void], npt.NDArray[np.int64]]:
        """Return the SOURCE records of a side, and how often each occurred."""
        records = np.frombuffer(b"".join(self.sources), SOURCE)
        times = np.fromiter(self.sources.values(), np.int64, len(self.sources))
        chosen = records["side"] == side
        return records[chosen], times[chosen]

    def pages(self, side: int) -> int:
        """Return the pages of a side."""
        return int((self.sides[side] << np.arange(ORDERS)).sum())
