# SPDX-License-Identifier: GPL-2.0-only
"""Memory that was allocated at boot, before the page allocator."""

from collections.abc import Iterator

from ..model.kernel_memory import BootReserved, MemmapPages, PercpuPages, Resources
from ..model.owner_memory import KernelImage, PageTablePages, StaticMemory
from ..model.ranges import Range, subtract
from .iomem import is_crash_kernel, is_firmware, ranges_of
from .kind import Claims, Kind, Label, claims_of_ranges
from .structures import Structures


def _claims(structures: Structures) -> Claims:
    boot = structures.boot or BootReserved()
    return claims_of_ranges(((Label("memblock"), subtract(boot.ranges, _of_others(structures))),))


def _of_others(structures: Structures) -> Iterator[Range]:
    """Yield the ranges that structures assign to kinds other than boot."""
    yield from (structures.memmap or MemmapPages()).ranges
    for _, pages in (structures.image or KernelImage()).sections:
        yield pages
    for _, pages in (structures.static or StaticMemory()).parts:
        yield pages
    for ranges in ranges_of(
        structures.resources or Resources(), lambda r: is_crash_kernel(r) or is_firmware(r)
    ).values():
        yield from ranges
    tables = (structures.tables or PageTablePages()).kernel.tolist()
    for pfn in (*tables, *(structures.percpu or PercpuPages()).first.tolist()):
        yield pfn, pfn + 1


BOOT = Kind(
    "boot",
    "Memory that was allocated at boot, before the page allocator, and that belongs to no other "
    "kind.",
    "memblock.reserved.",
    may_claim=("reserved",),
    claims=_claims,
    needs=("boot",),
    rest=True,
    limits="memblock.reserved also lists memory that was freed since: only pages of use reserved "
    "are taken from it. It does not show what a page was allocated for.",
)
