# SPDX-License-Identifier: GPL-2.0-only
"""Content of the maps of bpf/page_free.h, as numpy dtypes and as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from ..model.layout import PageLayout
from ..model.page_types import SLOTS
from .kinds import HWPOISON, KINDS, PAGE_POOL, UNTYPED

C = TypeVar("C")

ORDERS = 16
"""Orders that are counted, as in bpf/page_free.h; so are the dtypes below."""

WHO = np.dtype(
    [
        ("kind", np.uint32),
        ("order", np.uint32),
        ("stack", np.int32),
        ("pid", np.uint32),
        ("cpu", np.uint32),
        ("place", np.uint32),
        ("comm", "S16"),
    ]
)
EVENT = np.dtype([("time_ns", np.uint64), ("page", np.uint64), ("who", WHO)])
LOSSES = 3


@dataclass(frozen=True, slots=True)
class Who:
    """The key that frees are grouped by; unused fields are 0 or empty."""

    kind: int
    order: int
    stack: int
    """Id of the stack in the map `stacks`, -1 for none."""
    pid: int
    """Process id (tgid)."""
    cpu: int
    zone: int
    node: int
    comm: str

    @classmethod
    def of(cls, layout: PageLayout, record: Any) -> Self:
        """Return the plain form of one record of WHO."""
        kind, order, stack, pid, cpu, place, comm = record
        node_shift = layout.node_field.shift - layout.zone_bits.shift
        return cls(
            int(kind),
            int(order),
            int(stack),
            int(pid),
            int(cpu),
            int(place) & layout.zone_bits.mask,
            int(place) >> node_shift & layout.node_field.mask,
            comm.decode("utf-8", "replace"),
        )


@dataclass(frozen=True, slots=True)
class Event:
    """One free."""

    time_ns: int
    """Nanoseconds since tracing began."""
    pfn: int
    """pfn of its first page."""
    who: Who


def events_of(layout: PageLayout, records: Sequence[bytes], start_ns: int) -> list[Event]:
    """Return the events in records of the ring buffer, oldest first.

    `start_ns` is the CLOCK_MONOTONIC time at which tracing began.
    """
    found = np.frombuffer(b"".join(records), EVENT)
    return [
        Event(
            int(time_ns) - start_ns,
            (int(page) - layout.vmemmap) // layout.struct_size,
            Who.of(layout, who),
        )
        for time_ns, page, who in found.tolist()
    ]


@dataclass(frozen=True, slots=True)
class Lost:
    """Counts of what is missing from the report, by cause."""

    unread: int = 0
    """Frees whose page could not be read."""
    missed: int = 0
    """Frees in an interrupt of the program itself: the kernel skips the program then, and counts
    the skips."""
    who: int = 0
    """Frees without a key, because the map `who` was full."""
    stacks: int = 0
    """Stacks that did not fit into the map `stacks`."""
    events: int = 0
    """Events that did not fit into the ring buffer."""

    @property
    def total(self) -> int:
        """Sum over all causes."""
        return sum(self.to_json().values())

    def to_json(self) -> dict[str, int]:
        """Return the JSON form: by cause."""
        return asdict(self)

    def __sub__(self, earlier: "Lost") -> "Lost":
        return Lost(
            self.unread - earlier.unread,
            self.missed - earlier.missed,
            self.who - earlier.who,
            self.stacks - earlier.stacks,
            self.events - earlier.events,
        )


@dataclass(frozen=True, slots=True)
class FreeCounts:
    """Frees since the program was attached."""

    frees: npt.NDArray[np.uint64]
    """(KINDS, ORDERS) frees of each kind and order."""
    lost: Lost
    who: dict[bytes, int]
    """Frees of each record of WHO."""
    tails: npt.NDArray[np.uint64]
    """(SLOTS,) typed pages among the tails of frees that are not compound pages."""
    bad_pages: int | None
    """Calls of bad_page(); None where they are not counted."""

    @property
    def typed(self) -> npt.NDArray[np.uint64]:
        """(SLOTS, ORDERS) frees of pages with a type set."""
        return self.frees[:SLOTS]

    @property
    def untyped(self) -> npt.NDArray[np.uint64]:
        """(ORDERS,) frees of pages of no other kind."""
        return self.frees[UNTYPED]

    @property
    def page_pool(self) -> npt.NDArray[np.uint64]:
        """(ORDERS,) frees of pages with the signature of page_pool."""
        return self.frees[PAGE_POOL]

    @property
    def hwpoison(self) -> npt.NDArray[np.uint64]:
        """(ORDERS,) frees of poisoned pages, which do not reach the buddy allocator."""
        return self.frees[HWPOISON]

    def __sub__(self, earlier: "FreeCounts") -> "FreeCounts":
        who = {key: n - earlier.who.get(key, 0) for key, n in self.who.items()}
        bad_pages = None if self.bad_pages is None else self.bad_pages - (earlier.bad_pages or 0)
        return FreeCounts(
            self.frees - earlier.frees,
            self.lost - earlier.lost,
            {key: n for key, n in who.items() if n},
            self.tails - earlier.tails,
            bad_pages,
        )


def no_counts() -> FreeCounts:
    """Return the counts of a program that has just been attached."""
    return FreeCounts(
        np.zeros((KINDS, ORDERS), np.uint64), Lost(), {}, np.zeros(SLOTS, np.uint64), None
    )


def sums_by_order(
    counted: Mapping[bytes, int], dtype: np.dtype[np.void], row: str, rows: int
) -> npt.NDArray[np.uint64]:
    """Return the sums of counted records, (rows, ORDERS), by the field `row` and by order."""
    records = np.frombuffer(b"".join(counted), dtype)
    sums = np.zeros((rows, ORDERS), np.uint64)
    np.add.at(sums, (records[row], records["order"]), np.array([*counted.values()], np.uint64))
    return sums


def who_counted(layout: PageLayout, who: dict[bytes, int]) -> list[tuple[Who, int]]:
    """Return the plain form of `FreeCounts.who`."""
    records = np.frombuffer(b"".join(who), WHO).tolist()
    return [(Who.of(layout, r), n) for r, n in zip(records, who.values(), strict=True)]


class Difference(Protocol):
    """Counts of which the earlier ones can be taken away."""

    def __sub__(self, earlier: Self, /) -> Self: ...


Counts = TypeVar("Counts", bound=Difference)


@dataclass(frozen=True, slots=True)
class Interval(Generic[Counts]):
    """Counts of one interval of a trace; times are nanoseconds since the program was attached."""

    counts: Counts
    start_ns: int
    end_ns: int
    command_status: int | None = None
    """Exit status of the command, in the last reading only; 128 + N for signal N. None without
    one."""
    clock_ns: int = 0
    """CLOCK_MONOTONIC at the end; 0 if it is not known."""
