"""Which struct pages are in use: those of memory that is online, and those of devices.

Memory that is offline has struct pages too, but nothing keeps them: they are what they were when it
went offline, or were never written.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from drgn import Object, Program, offsetof, sizeof
from drgn.helpers.linux.mm import for_each_valid_page_range
from drgn.helpers.linux.xarray import xa_for_each

from .layout import SECTION_PFNS
from .ranges import Range, intersect, merge
from .vmcoreinfo import HAS_MEM_MAP, IS_ONLINE

Words = npt.NDArray[np.uint64]

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


def sections_with_pages(prog: Program) -> tuple[npt.NDArray[np.int64], Words]:
    """Return the first pfn of each memory section with struct pages, (k,), and its mem_section.

    The latter is (k, sizeof(struct mem_section)/8) uint64. Raises LookupError and FaultError.
    """
    width = sizeof(prog.type("struct mem_section"))
    per_root = prog["SECTIONS_PER_ROOT"].value_()
    roots = prog["__highest_present_section_nr"].value_() // per_root + 1
    firsts, found = [np.empty(0, np.int64)], [np.empty((0, width // 8), np.uint64)]
    for i, root in enumerate(prog["mem_section"][:roots]):
        if root:
            words = np.frombuffer(prog.read(root.value_(), per_root * width), np.uint64)
            words = words.reshape(per_root, width // 8)
            mapped = np.flatnonzero(member(prog, words, "section_mem_map") & np.uint64(HAS_MEM_MAP))
            firsts.append((i * per_root + mapped) * SECTION_PFNS)
            found.append(words[mapped])
    return np.concatenate(firsts), np.concatenate(found)


def member(prog: Program, sections: Words, name: str) -> Words:
    """Return a member of 64 bits of each struct mem_section, (k,) uint64. Raises LookupError."""
    return sections[:, offsetof(prog.type("struct mem_section"), name) // 8]


def _online(prog: Program) -> list[Range]:
    firsts, sections = sections_with_pages(prog)
    online = firsts[member(prog, sections, "section_mem_map") & np.uint64(IS_ONLINE) != 0]
    return [(first, first + SECTION_PFNS) for first in online.tolist()]


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
