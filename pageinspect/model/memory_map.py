"""What classification needs beside struct pages: zones, spans, per-CPU free lists."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .ranges import Range, count

TRYLOCK = 0xFFFF
"""Stands for a CPU: the pages that free_pages_nolock() could not free at once, on no CPU's list."""


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone that has pages: the pfns it spans, end exclusive, and its number in page flags."""

    node: int
    name: str
    start: int
    end: int
    number: int = 0


@dataclass(frozen=True)
class PcpLists:
    """The blocks on per-CPU free lists, sorted by pfn.

    `pfns` (k,) int64 are their first pages, `orders` and `cpus` (k,) uint8 and uint16; what is on
    a zone's trylock list instead has TRYLOCK for a CPU. `counted` is the sum of pcp->count, in
    pages; `whole` is False when a list could not be followed to its end.
    """

    pfns: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    orders: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    cpus: npt.NDArray[np.uint16] = field(default_factory=lambda: np.empty(0, np.uint16))
    counted: int = 0
    whole: bool = True

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PcpLists):
            return NotImplemented
        same = (self.counted, self.whole) == (other.counted, other.whole)
        return same and all(
            np.array_equal(getattr(self, c), getattr(other, c)) for c in ("pfns", "orders", "cpus")
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True)
class MemoryMap:
    """What a kernel says about its memory as a whole."""

    spanned: tuple[Range, ...]
    """pfns that have a struct page in use, as sorted disjoint ranges: memory that is offline is
    left out."""
    zones: tuple[Zone, ...]
    zone_names: tuple[str, ...] = ()
    """Names of all zones that there can be, by their number in page flags."""
    pcp: PcpLists = field(default_factory=PcpLists)
    zero_pfn: int | None = None
    huge_zero_pfn: int | None = None
    max_pfn: int = 0
    """One beyond the last pfn of memory."""
    devices: tuple[Range, ...] = ()
    """pfns of ZONE_DEVICE: its zone spans what lies between them too."""
    changing: bool = False
    """The kernel ran on after this was read, so that pages need not agree with it."""

    def zone_name(self, number: int) -> str:
        """Return the name of the zone that page flags give by its number."""
        return self.zone_names[number] if number < len(self.zone_names) else f"zone {number}"

    def no_zone(self, number: int) -> str:
        """Return what a zone number means that is no zone's, as a sentence; "" of a zone's.

        init_reserved_page() of the kernel, now __init_page_from_nid(), looks for the zone that
        spans a pfn, and where there is none ends at the number behind the last.
        """
        if not self.zone_names or number < len(self.zone_names):
            return ""
        if number > len(self.zone_names):
            return f"This kernel gives no page the zone number {number}."
        return "No zone spans these pages: firmware or the boot loader reserved them."

    @property
    def spanned_pages(self) -> int:
        """Number of pfns that have a struct page."""
        return count(self.spanned)
