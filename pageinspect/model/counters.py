"""The kernel's own counters of its pages, as plain numbers."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counters:
    """What a kernel counts, at one moment; in pages, but for the last four."""

    items: Mapping[str, int]
    """Zone and node items by the kernel's names (NR_FREE_PAGES), summed over zones and nodes; those
    that the kernel lacks are absent. Items named *_B are kept in pages too."""
    pcp: int = 0
    """Sum of pcp->count over all zones and CPUs."""
    hugetlb: int | None = None
    """Pages in the pools of all sizes of huge pages, free and in use; None without hugetlb."""
    inflated: int | None = None
    """Pages that drivers put into balloons and did not take out again, by the kernel's events."""
    turnover: int = 0
    """Pages allocated and freed since boot: its growth bounds what can have changed meanwhile."""
    isolated_blocks: int = 0
    """Number of pageblocks that are isolated: their free pages are no part of NR_FREE_PAGES."""
    locked: int = 0
    """Number of zone and per-CPU list locks that are held: a CPU is moving pages."""
    cpus: int = 0
    """Number of CPUs that there can be."""
    hugetlb_flaw: str = ""
    """What makes no sense about the pools of huge pages, and is left out of `hugetlb`."""
    offliners: tuple[str, ...] = ()
    """Drivers there are that mark pages offline and count them in nothing of the above."""
