"""Which struct pages are in use: those of memory that is online, and those of devices.

Memory that is offline has struct pages too, but nothing keeps them: they are what they were when it
went offline, or were never written.
"""

from dataclasses import dataclass

import numpy as np
from drgn import Object, Program, offsetof, sizeof
from drgn.helpers.linux.mm import for_each_valid_page_range
from drgn.helpers.linux.xarray import xa_for_each

from .layout import SECTION_PFNS
from .ranges import Range, intersect, merge
from .vmcoreinfo import IS_ONLINE

_PAGE_SHIFT = 12


@dataclass(frozen=True, slots=True)
class Memmap:
    """Sorted disjoint (start, end) pfns, end exclusive."""

    used: tuple[Range, ...]
    devices: tuple[Range, ...]
    """What drivers have mapped with struct pages of their own (ZONE_DEVICE)."""


def read_memmap(prog: Program) -> Memmap:
    """Return what of the struct pages is in use; raises LookupError and FaultError."""
    valid = merge((start, end) for start, end, _ in for_each_valid_page_range(prog))
    devices = merge(_device_ranges(prog))
    used = intersect(valid, merge([*_online(prog), *devices]))
    return Memmap(tuple(used), tuple(devices))


def _online(prog: Program) -> list[Range]:
    section = prog.type("struct mem_section")
    width, where = sizeof(section), offsetof(section, "section_mem_map")
    per_root = prog["SECTIONS_PER_ROOT"].value_()
    ranges: list[Range] = []
    roots = prog["__highest_present_section_nr"].value_() // per_root + 1
    for i, root in enumerate(prog["mem_section"][:roots]):
        if not root:
            continue
        data = prog.read(root.value_(), per_root * width)
        maps = np.frombuffer(data, np.uint64).reshape(per_root, width // 8)[:, where // 8]
        for n in np.flatnonzero(maps & np.uint64(IS_ONLINE)).tolist():
            first = (i * per_root + n) * SECTION_PFNS
            ranges.append((first, first + SECTION_PFNS))
    return ranges


def _device_ranges(prog: Program) -> list[Range]:
    """Return the pfns of each dev_pagemap; the kernel finds them by pfn in an xarray."""
    try:
        address = prog.symbol("pgmap_array").address
    except LookupError:  # without CONFIG_ZONE_DEVICE
        return []
    array = Object(prog, "struct xarray *", address)
    ranges: list[Range] = []
    # A map is there once for each power of two that its ranges are made of.
    for pointer in {entry.value_() for _, entry in xa_for_each(array)}:
        pgmap = Object(prog, "struct dev_pagemap *", pointer)
        extent = pgmap.range.address_of_()
        for i in range(pgmap.nr_range.value_()):
            start, last = extent[i].start.value_(), extent[i].end.value_()
            ranges.append((start >> _PAGE_SHIFT, (last + 1) >> _PAGE_SHIFT))
    return ranges
