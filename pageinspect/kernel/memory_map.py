# SPDX-License-Identifier: GPL-2.0-only
"""Reads the memory map: zones, online pfn ranges, per-CPU free lists, zero pages."""

from drgn import FaultError, Object, Program
from drgn.helpers.linux.mmzone import for_each_online_pgdat

from ..errors import MISSING_MEMORY_HINT, PageInspectError
from ..model.arch import SECTION_PFNS
from ..model.layout import PageLayout
from ..model.memory_map import MemoryMap, Zone
from ..model.ranges import merge
from ..target.vmcoreinfo import Info, sections
from .online import check_sections, read_online
from .pcp_lists import PcpReader


def _zones(prog: Program) -> tuple[tuple[Zone, ...], tuple[str, ...], list[Object]]:
    """Return the zones with pages, the names of all zones, and the objects of the former."""
    zones: list[Zone] = []
    names: list[str] = []
    objects = []
    for pgdat in for_each_online_pgdat(prog):
        node = pgdat.node_id.value_()
        names = [zone.name.string_().decode("ascii", "replace") for zone in pgdat.node_zones]
        for number, zone in enumerate(pgdat.node_zones):
            start, spanned = zone.zone_start_pfn.value_(), zone.spanned_pages.value_()
            if spanned:
                zones.append(Zone(node, names[number], start, start + spanned, number))
                objects.append(zone)
    return tuple(zones), tuple(names), objects


def _variable(prog: Program, *names: str) -> int | None:
    """Return the value of the first of these unsigned long variables that exists, or None."""
    for name in names:
        try:
            return prog.read_u64(prog.symbol(name).address)
        except (LookupError, FaultError):
            continue
    return None


def _huge_zero_pfn(prog: Program) -> int | None:
    # ~0 if there is no huge zero page.
    pfn = _variable(prog, "huge_zero_pfn")
    return None if pfn is None or pfn >= 1 << 52 else pfn


def read_memory_map(
    prog: Program,
    layout: PageLayout,
    vmcoreinfo: Info,
    *,
    changing: bool = False,
    max_sections: int | None = None,
) -> MemoryMap:
    """Read the memory map of the kernel that `prog` has open; `changing` means that it is running.

    Without the kernel's types, only memory sections are available. Raises PageInspectError if zones
    or sections cannot be read, or there are more than `max_sections`.
    """
    if layout.unavailable:
        numbers, _ = sections(prog, vmcoreinfo)
        check_sections(len(numbers), max_sections)
        sound = merge((n * SECTION_PFNS, (n + 1) * SECTION_PFNS) for n in numbers)
        return MemoryMap(tuple(sound), (), changing=changing)
    try:
        memmap = read_online(prog, max_sections)
        zones, names, objects = _zones(prog)
        pcp = PcpReader(prog, layout).read(objects)
    except (LookupError, FaultError) as error:
        raise PageInspectError(
            f"cannot read the zones and memory sections of this kernel: {error}",
            MISSING_MEMORY_HINT,
        ) from None
    return MemoryMap(
        memmap.used,
        zones,
        names,
        pcp,
        zero_pfn=_variable(prog, "zero_page_pfn", "zero_pfn"),
        huge_zero_pfn=_huge_zero_pfn(prog),
        max_pfn=_variable(prog, "max_pfn") or 0,
        devices=memmap.devices,
        changing=changing,
    )
