# SPDX-License-Identifier: GPL-2.0-only
"""Finds the struct pages in use: those of online memory and of device memory.

Offline memory may have struct pages too, but the kernel does not maintain them: their contents are
stale or uninitialized.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from drgn import Object, Program, offsetof, sizeof
from drgn.helpers.linux.mm import for_each_valid_page_range
from drgn.helpers.linux.xarray import xa_for_each

from ..errors import PageInspectError
from ..model.arch import PAGE_SHIFT, PAGE_SIZE, SECTION_PFNS
from ..model.ranges import Range, intersect, merge
from ..target.vmcoreinfo import DAMAGED, HAS_MEM_MAP, IS_ONLINE, MAX_SECTIONS, check_section_roots
from ..units import number

Words = npt.NDArray[np.uint64]

_MAX_RANGES = 1 << 12
"""Ranges of one dev_pagemap; real ones have a few."""


@dataclass(frozen=True, slots=True)
class OnlinePages:
    """Sorted disjoint (start, end) pfns, end exclusive."""

    used: tuple[Range, ...]
    devices: tuple[Range, ...]
    """Device memory with struct pages (ZONE_DEVICE)."""


def max_sections(core: Path) -> int:
    """Return the maximum number of memory sections that a core file of this size can describe.

    A section needs at least one page in the file: its 512 pages of struct pages, or the page table
    that maps them to shared ones. A compressed kdump has two bitmap bits for each of its 32,768
    pages.
    """
    return core.stat().st_size // PAGE_SIZE


def check_sections(claimed: int, most: int | None) -> None:
    """Raise PageInspectError if there are more than `most` memory sections; None: without limit."""
    if most is not None and claimed > most:
        raise PageInspectError(
            f"this kernel claims {number(claimed)} memory sections, but a core of this size has "
            f"room for {number(most)}",
            DAMAGED,
        )


def read_online(prog: Program, most: int | None = None) -> OnlinePages:
    """Return the pfns with struct pages in use; `most` is the maximum number of sections.

    Raises LookupError and FaultError, and PageInspectError for impossible sections.
    """
    firsts, sections = sections_with_pages(prog)
    check_sections(len(firsts), most)
    is_online = member(prog, sections, "section_mem_map") & np.uint64(IS_ONLINE) != 0
    online = [(first, first + SECTION_PFNS) for first in firsts[is_online].tolist()]
    valid = merge((start, end) for start, end, _ in for_each_valid_page_range(prog))
    devices = merge(_device_ranges(prog))
    used = intersect(valid, merge([*online, *devices]))
    return OnlinePages(tuple(used), tuple(devices))


def sections_with_pages(prog: Program) -> tuple[npt.NDArray[np.int64], Words]:
    """Return the first pfn, (k,), and the struct mem_section of each section with struct pages.

    The latter is (k, sizeof(struct mem_section)/8) uint64. Raises LookupError and FaultError.
    """
    width = sizeof(prog.type("struct mem_section"))
    per_root = prog["SECTIONS_PER_ROOT"].value_()
    highest = prog["__highest_present_section_nr"].value_()
    if highest >= MAX_SECTIONS:
        raise PageInspectError(f"this kernel claims a memory section number {highest:#x}", DAMAGED)
    firsts, found = [np.empty(0, np.int64)], [np.empty((0, width // 8), np.uint64)]
    for i, root in enumerate(_roots(prog, highest // per_root + 1)):
        if root:
            words = np.frombuffer(prog.read(root, per_root * width), np.uint64)
            words = words.reshape(per_root, width // 8)
            mapped = np.flatnonzero(member(prog, words, "section_mem_map") & np.uint64(HAS_MEM_MAP))
            firsts.append((i * per_root + mapped) * SECTION_PFNS)
            found.append(words[mapped])
    return np.concatenate(firsts), np.concatenate(found)


def _roots(prog: Program, n: int) -> list[int]:
    """Return the first `n` root pointers of mem_section; 0 is an unused root."""
    data = prog.read(prog["mem_section"].value_(), 8 * n)
    roots = np.frombuffer(data, np.uint64)
    check_section_roots(roots)
    return roots.tolist()


def member(prog: Program, sections: Words, name: str) -> Words:
    """Return a 64-bit member of each struct mem_section, (k,) uint64. Raises LookupError."""
    return sections[:, offsetof(prog.type("struct mem_section"), name) // 8]


def _device_ranges(prog: Program) -> list[Range]:
    """Return the pfn ranges of all struct dev_pagemap in the xarray pgmap_array."""
    try:
        address = prog.symbol("pgmap_array").address
    except LookupError:  # without CONFIG_ZONE_DEVICE
        return []
    array = Object(prog, "struct xarray *", address)
    ranges: list[Range] = []
    # A dev_pagemap has several entries: one for each power-of-two part of its ranges.
    for pointer in {entry.value_() for _, entry in xa_for_each(array)}:
        pgmap = Object(prog, "struct dev_pagemap *", pointer)
        extent = pgmap.range.address_of_()
        for i in range(min(pgmap.nr_range.value_(), _MAX_RANGES)):
            start, last = extent[i].start.value_(), extent[i].end.value_()
            ranges.append((start >> PAGE_SHIFT, (last + 1) >> PAGE_SHIFT))
    return ranges
