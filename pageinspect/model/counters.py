# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own page counters, as plain numbers."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Counters:
    """The kernel's counters at one moment, in pages unless a comment gives another unit."""

    items: Mapping[str, int]
    """Zone and node items by the kernel's names (NR_FREE_PAGES), summed over zones and nodes. Items
    that the kernel lacks are absent. Items named *_B are in pages too."""
    pcp: int = 0
    """Sum of pcp->count over all zones and CPUs."""
    hugetlb: int | None = None
    """Free and used pages in the hugetlb pools of all sizes; None without hugetlb."""
    inflated: int | None = None
    """Pages in balloons: BALLOON_INFLATE minus BALLOON_DEFLATE events; None without these."""
    vmalloc: int | None = None
    """nr_vmalloc_pages; None where the kernel counts them in the item NR_VMALLOC."""
    memmap: int | None = None
    """nr_memmap_boot_pages plus nr_memmap_pages; None for kernels without these."""
    percpu: int | None = None
    """pcpu_nr_populated times pcpu_nr_units, which is Percpu of /proc/meminfo; None if unknown."""
    page_pool: int | None = None
    """Pages that the network's page pools have taken and not given back; None if the kernel does
    not list its pools, or not all can be read."""
    turnover: int = 0
    """Pages allocated plus pages freed since boot. Growth limits what changed between two reads."""
    isolated_blocks: int = 0
    """Number of isolated pageblocks: NR_FREE_PAGES excludes their free pages."""
    locked: int = 0
    """Number of held zone and per-CPU list locks: for each, a CPU is moving pages."""
    cpus: int = 0
    """Number of possible CPUs."""
    hugetlb_flaw: str = ""
    """Invalid values of the hugetlb pools, which `hugetlb` excludes; "" if there are none."""
    offliners: tuple[str, ...] = ()
    """Drivers in this kernel that mark pages offline without counting them in a counter above."""
