"""What the maps of bpf/page_free.h hold, as numpy and as plain values."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from ..model.layout import PageLayout
from ..model.page_types import SLOTS
from .kinds import HWPOISON, KINDS, PAGE_POOL, UNTYPED

ORDERS = 16
"""As in bpf/page_free.h, like the shapes below."""

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
MOST_WHO = 16384
LOSSES = 3


@dataclass(frozen=True, slots=True)
class Who:
    """Who freed; what was not asked for is 0 or empty."""

    kind: int
    order: int
    stack: int
    """Number of the stack, -1 for none."""
    pid: int
    """Of the process."""
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
    """One free as it happened."""

    time_ns: int
    """Since tracing began."""
    pfn: int
    """Of its first page."""
    who: Who


def events_of(layout: PageLayout, records: Sequence[bytes], start_ns: int) -> list[Event]:
    """Return the events in records of the ring buffer, oldest first.

    `start_ns` is when tracing began, of the monotonic clock.
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
    """What happened but is not in the report."""

    unread: int = 0
    """Frees whose page could not be read."""
    missed: int = 0
    """Frees while the program ran already on that CPU, in the interrupted task: the kernel does not
    run it then, but counts the times."""
    who: int = 0
    """Frees of which only the number is known: there were too many different ones."""
    stacks: int = 0
    """Stacks that did not fit."""
    events: int = 0
    """Events that nobody took in time."""

    @property
    def total(self) -> int:
        """All of them."""
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
class Counts:
    """Frees since the program was attached."""

    frees: npt.NDArray[np.uint64]
    """(KINDS, ORDERS) frees of each kind and order."""
    lost: Lost
    who: dict[bytes, int]
    """Frees of each record of WHO."""
    tails: npt.NDArray[np.uint64]
    """(SLOTS,) pages with a type that are tails of a free which is no compound page."""
    bad_pages: int | None
    """Calls of bad_page(); None where they are not counted."""

    @property
    def typed(self) -> npt.NDArray[np.uint64]:
        """(SLOTS, ORDERS) frees of pages with a type set."""
        return self.frees[:SLOTS]

    @property
    def untyped(self) -> npt.NDArray[np.uint64]:
        """(ORDERS,) frees of pages that are nothing else."""
        return self.frees[UNTYPED]

    @property
    def page_pool(self) -> npt.NDArray[np.uint64]:
        """(ORDERS,) frees of pages with the signature of page_pool."""
        return self.frees[PAGE_POOL]

    @property
    def hwpoison(self) -> npt.NDArray[np.uint64]:
        """(ORDERS,) frees of poisoned pages, which never reach the buddy."""
        return self.frees[HWPOISON]

    def __sub__(self, earlier: "Counts") -> "Counts":
        who = {key: n - earlier.who.get(key, 0) for key, n in self.who.items()}
        bad_pages = None if self.bad_pages is None else self.bad_pages - (earlier.bad_pages or 0)
        return Counts(
            self.frees - earlier.frees,
            self.lost - earlier.lost,
            {key: n for key, n in who.items() if n},
            self.tails - earlier.tails,
            bad_pages,
        )


def no_counts() -> Counts:
    """Return the counts of a program that has just been attached."""
    return Counts(
        np.zeros((KINDS, ORDERS), np.uint64), Lost(), {}, np.zeros(SLOTS, np.uint64), None
    )


def who_counted(layout: PageLayout, who: dict[bytes, int]) -> list[tuple[Who, int]]:
    """Return the plain form of `Counts.who`."""
    records = np.frombuffer(b"".join(who), WHO).tolist()
    return [(Who.of(layout, r), n) for r, n in zip(records, who.values(), strict=True)]


@dataclass(frozen=True, slots=True)
class Reading:
    """Counts of one stretch of a run; times are nanoseconds of the monotonic clock since attach."""

    counts: Counts
    start_ns: int
    end_ns: int
    command_status: int | None = None
    """Of the last stretch, as a shell tells it: 128 + N for signal N. None without a command."""
