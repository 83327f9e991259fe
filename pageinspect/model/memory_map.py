# SPDX-License-Identifier: GPL-2.0-only
"""Memory as the kernel sees it: zones, pfns with struct pages, per-CPU free lists."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .ranges import Range, count

TRYLOCK = 0xFFFF
"""Used instead of a CPU number for pages on a zone's trylock list, where free_pages_nolock() leaves
pages that it could not free."""


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone with pages: the pfns it spans, `end` exclusive, and its number in page flags."""

    node: int
    name: str
    start: int
    end: int
    number: int = 0


@dataclass(frozen=True)
class PcpLists:
    """The blocks on per-CPU free lists, sorted by pfn.

    `pfns` is (k,) int64 with the first page of each block, `orders` (k,) uint8, `cpus` (k,) uint16
    with TRYLOCK for blocks on a zone's trylock list. `counted` is the sum of pcp->count in pages.
    `whole` is False if a list could not be followed to its end.
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
    """Zones, pfns with struct pages and free lists of one kernel."""

    spanned: tuple[Range, ...]
    """pfns with a struct page in use, without offline memory: sorted disjoint ranges."""
    zones: tuple[Zone, ...]
    zone_names: tuple[str, ...] = ()
    """Names of all zones, including empty ones, by their number in page flags."""
    pcp: PcpLists = field(default_factory=PcpLists)
    zero_pfn: int | None = None
    huge_zero_pfn: int | None = None
    max_pfn: int = 0
    """One after the last pfn of memory."""
    devices: tuple[Range, ...] = ()
    """pfns of ZONE_DEVICE. The span of that zone also includes gaps between them."""
    changing: bool = False
    """Whether the kernel was running, so that pages may have changed after this was read."""

    def zone_name(self, number: int) -> str:
        """Return the name of a zone by its number in page flags."""
        return self.zone_names[number] if number < len(self.zone_names) else f"zone {number}"

    def explain_zone_number(self, number: int) -> str:
        """Return a sentence that explains an invalid zone number; "" for a valid one.

        The kernel's init_reserved_page(), later __init_page_from_nid(), searches the zone that
        spans a pfn. If there is none, the page gets the number after the last zone.
        """
        if not self.zone_names or number < len(self.zone_names):
            return ""
        if number > len(self.zone_names):
            return f"This kernel never sets the zone number {number}."
        return "No zone spans these pages: firmware or the boot loader reserved them."

    @property
    def spanned_pages(self) -> int:
        """Number of pfns that have a struct page."""
        return count(self.spanned)
