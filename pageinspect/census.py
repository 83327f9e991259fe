"""What classification needs to know beside struct pages, read once into plain values."""

from dataclasses import dataclass

from drgn import FaultError, Program
from drgn.helpers.linux.mm import for_each_valid_page_range
from drgn.helpers.linux.mmzone import for_each_online_pgdat

from .errors import PageInspectError
from .ranges import Range, count, merge


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone that has pages: the pfns it spans, end exclusive."""

    node: int
    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Census:
    """What a kernel says about its memory as a whole."""

    spanned: tuple[Range, ...]
    """pfns that have a struct page, as sorted disjoint ranges."""
    zones: tuple[Zone, ...]

    @property
    def spanned_pages(self) -> int:
        """Number of pfns that have a struct page."""
        return count(self.spanned)


def _zones(prog: Program) -> tuple[Zone, ...]:
    zones = []
    for pgdat in for_each_online_pgdat(prog):
        node = pgdat.node_id.value_()
        for zone in pgdat.node_zones:
            start, spanned = zone.zone_start_pfn.value_(), zone.spanned_pages.value_()
            if spanned:
                name = zone.name.string_().decode("ascii", "replace")
                zones.append(Zone(node, name, start, start + spanned))
    return tuple(zones)


def take_census(prog: Program) -> Census:
    """Read the census of the kernel that `prog` looks at.

    Raises PageInspectError when the kernel's zones and sections cannot be read.
    """
    try:
        spanned = merge((start, end) for start, end, _ in for_each_valid_page_range(prog))
        zones = _zones(prog)
    except (LookupError, FaultError) as error:
        raise PageInspectError(
            f"cannot read the zones and memory sections of this kernel: {error}",
            "the core may be cut off: compare its size with the original",
        ) from None
    return Census(tuple(spanned), zones)
