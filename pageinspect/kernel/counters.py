# SPDX-License-Identifier: GPL-2.0-only
"""Reads the kernel's own page counters.

vm_stat of a zone or node excludes per-CPU deltas that are not folded into it yet. They are added
here, as in the kernel's zone_page_state_snapshot(). The global vm_zone_stat and vm_node_stat are
not used: a CPU updates them last, for all zones at once.
"""

import contextlib
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from drgn import FaultError, Object, Program, sizeof
from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.mmzone import for_each_online_pgdat
from drgn.helpers.linux.module import for_each_module
from drgn.helpers.linux.percpu import per_cpu, per_cpu_ptr

from ..errors import MISSING_MEMORY_HINT, PageInspectError
from ..model.counters import Counters
from .hugetlb_pools import read_hugetlb_pools
from .owner_names.page_pools import PagePoolNames
from .structures import MissingStructureError

Items = list[tuple[str, int]]

_OFFLINERS = {
    "hv_balloon": "balloon_onchannelcallback",
    "virtio_mem": "virtio_mem_set_fake_offline",
    "vmw_balloon": "vmballoon_work",
}
"""Drivers, each with a function that shows that it is built in."""
_MAX_MODULES = 1 << 14


@dataclass(slots=True)
class _Sums:
    """Sums over zones, nodes and CPUs."""

    items: dict[str, int] = field(default_factory=dict)
    pcp: int = 0
    isolated_blocks: int = 0
    locked: int = 0

    def add(self, values: Object, items: Items) -> None:
        """Add an array that is indexed by items, of integers of any size, plain or atomic."""
        if not items:
            return
        width, length = sizeof(values[0]), items[-1][1] + 1
        data = values.prog_.read(values.address_, width * length)
        numbers = np.frombuffer(data, f"<i{width}").tolist()
        for name, index in items:
            self.items[name] = self.items.get(name, 0) + numbers[index]


def _enumerators(prog: Program, enum: str, end: str) -> Items:
    """Return (name, value) of the items of an enum before `end`, in order.

    Of names with the same value the last is used, because a base such as NR_LRU_BASE is the first.
    Raises LookupError if the kernel has no such enum.
    """
    values = {e.value: e.name for e in prog.type(f"enum {enum}").enumerators or ()}
    last = next((value for value, name in values.items() if name == end), 0)
    return [(name, value) for value, name in sorted(values.items()) if value < last]


def _is_held(owner: Object) -> bool:
    """Return whether the spinlock of a zone or list is held; False if its type is not known."""
    try:
        return bool(owner.lock.rlock.raw_lock.val.counter.value_())
    except AttributeError:
        return False


def _add_zone(sums: _Sums, zone: Object, cpus: list[int], items: Items) -> None:
    """Add the counters of a zone and of its CPUs."""
    if hasattr(zone, "nr_isolate_pageblock"):
        sums.isolated_blocks += zone.nr_isolate_pageblock.value_()
    sums.locked += _is_held(zone)
    sums.add(zone.vm_stat, items)
    for cpu in cpus:
        # Since Linux kernel commit 28f836b6777b ("mm/page_alloc: split per cpu page lists and zone
        # stats") (in v5.14), per-CPU deltas and lists are in separate structures.
        if hasattr(zone, "per_cpu_zonestats"):
            pcp = per_cpu_ptr(zone.per_cpu_pageset, cpu)
            remainders = per_cpu_ptr(zone.per_cpu_zonestats, cpu)
        else:
            remainders = per_cpu_ptr(zone.pageset, cpu)
            pcp = remainders.pcp.address_of_()
        sums.pcp += pcp.count.value_()
        sums.locked += _is_held(pcp)
        sums.add(remainders.vm_stat_diff, items)


def _statistics(prog: Program, cpus: list[int]) -> _Sums:
    sums = _Sums()
    zone_items = _enumerators(prog, "zone_stat_item", "NR_VM_ZONE_STAT_ITEMS")
    node_items = _enumerators(prog, "node_stat_item", "NR_VM_NODE_STAT_ITEMS")
    for pgdat in for_each_online_pgdat(prog):
        sums.add(pgdat.vm_stat, node_items)
        for cpu in cpus:
            sums.add(per_cpu_ptr(pgdat.per_cpu_nodestats, cpu).vm_node_stat_diff, node_items)
        for zone in pgdat.node_zones:
            if zone.spanned_pages.value_():
                _add_zone(sums, zone, cpus, zone_items)
    return sums


def _events(prog: Program, cpus: list[int]) -> dict[str, int]:
    """Return the events of all CPUs since boot; empty without CONFIG_VM_EVENT_COUNTERS."""
    try:
        states = prog["vm_event_states"]
    except LookupError:
        return {}
    items = _enumerators(prog, "vm_event_item", "NR_VM_EVENT_ITEMS")
    sums = _Sums()
    for cpu in cpus:
        sums.add(per_cpu(states, cpu).event, items)
    return sums.items


def read_hugetlb(prog: Program) -> tuple[int | None, str]:
    """Return the number of pages in hugetlb pools, and a text about invalid values ("" if none)."""
    try:
        pools, flaws = read_hugetlb_pools(prog)
    except MissingStructureError:
        return None, ""
    return sum(pool.pages << pool.order for pool in pools), flaws


def _offliners(prog: Program) -> tuple[str, ...]:
    """Return the drivers, modules or built in, that mark pages offline without counting them."""
    found = set()
    for driver, function in _OFFLINERS.items():
        with contextlib.suppress(LookupError):
            prog.symbol(function)
            found.add(driver)
    with contextlib.suppress(LookupError, FaultError):
        for module in islice(for_each_module(prog), _MAX_MODULES):
            found |= {module.name.string_().decode("ascii", "replace")} & _OFFLINERS.keys()
    with contextlib.suppress(LookupError, FaultError):
        if prog.read_u32(prog.symbol("xen_domain_type").address):
            found.add("xen")
    return tuple(sorted(found))


def _value(prog: Program, variable: str) -> int | None:
    """Return an integer, which may be atomic; None for kernels without the variable."""
    try:
        found = prog[variable]
        return int((found.counter if hasattr(found, "counter") else found).value_())
    except LookupError:
        return None


def _memmap(prog: Program) -> int | None:
    """Return the number of pages with struct pages.

    Since Linux kernel commit f4cb78af91e3 ("mm: add system wide stats items category") (in v6.11),
    the kernel counts them in variables.
    """
    at_boot, since = _value(prog, "nr_memmap_boot_pages"), _value(prog, "nr_memmap_pages")
    return None if at_boot is None or since is None else at_boot + since


def _percpu(prog: Program) -> int | None:
    populated, units = _value(prog, "pcpu_nr_populated"), _value(prog, "pcpu_nr_units")
    return None if populated is None or units is None else populated * units


def _page_pools(prog: Program) -> int | None:
    try:
        pools, whole = PagePoolNames(prog).all_pools()
    except MissingStructureError:
        return None
    return sum(pool.pages or 0 for pool in pools) if whole else None


def read_counters(prog: Program) -> Counters:
    """Read the counters of the kernel that `prog` has open; raises PageInspectError."""
    try:
        cpus = list(for_each_possible_cpu(prog))
        sums = _statistics(prog, cpus)
        events = _events(prog, cpus)
        hugetlb, hugetlb_flaw = read_hugetlb(prog)
        offliners = _offliners(prog)
        vmalloc, memmap = _value(prog, "nr_vmalloc_pages"), _memmap(prog)
        percpu = _percpu(prog)
    except (LookupError, FaultError) as error:
        raise PageInspectError(
            f"cannot read the counters of this kernel: {error}",
            f"{MISSING_MEMORY_HINT}; or check pfns: --pfn",
        ) from None
    balloon = [events.get(f"BALLOON_{way}") for way in ("INFLATE", "DEFLATE")]
    return Counters(
        sums.items,
        sums.pcp,
        hugetlb,
        inflated=None if None in balloon else balloon[0] - balloon[1],  # type: ignore[operator]
        vmalloc=vmalloc,
        memmap=memmap,
        percpu=percpu,
        page_pool=_page_pools(prog),
        turnover=sum(n for name, n in events.items() if name.startswith(("PGALLOC_", "PGFREE"))),
        isolated_blocks=sums.isolated_blocks,
        locked=sums.locked,
        cpus=len(cpus),
        hugetlb_flaw=hugetlb_flaw,
        offliners=offliners,
    )
