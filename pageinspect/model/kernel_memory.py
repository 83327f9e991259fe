# SPDX-License-Identifier: GPL-2.0-only
"""Kernel structures that describe memory: vmalloc areas, percpu chunks, resources, modules.

Common fields: `whole` is False if a list was not followed to its end; `unreadable` counts items
that could not be read or are invalid. Names are untrusted text of bounded length.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .arch import PAGE_SHIFT
from .ranges import Range, count

Pfns = npt.NDArray[np.int64]

# VM_* flags of struct vm_struct. They are macros, which the kernel's types do not have.
VM_IOREMAP = 0x1
VM_ALLOC = 0x2
VM_MAP = 0x4
VM_DMA_COHERENT = 0x10
VM_UNINITIALIZED = 0x20
VM_NO_GUARD = 0x40
VM_MAP_PUT_PAGES = 0x200


def no_pfns() -> Pfns:
    """Return an empty array of pfns."""
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class VmapArea:
    """A range of vmalloc addresses with its owner, and the pages that it owns."""

    start: int
    end: int
    """Exclusive; the range includes the guard page."""
    flags: int
    """VM_* flags."""
    caller: int
    """Address in the code that requested the area; 0 if not recorded."""
    vm: int
    """Address of its struct vm_struct."""
    pages: Pfns
    """pfns in order of their addresses from `start` up, int64; -1 for unreadable ones.

    Empty for an area that does not own the pages it maps, such as those of ioremap() and percpu."""

    @property
    def is_counted(self) -> bool:
        """Whether the kernel's vmalloc counter includes these pages: vmalloc() allocated them."""
        return bool(self.flags & VM_ALLOC) and not self.flags & VM_MAP_PUT_PAGES

    @property
    def is_unfinished(self) -> bool:
        """Whether its pages are being allocated: the kernel may not have counted them yet."""
        return bool(self.flags & VM_UNINITIALIZED)

    def between(self, start: int, end: int) -> Pfns:
        """Return the readable pfns of the pages from address `start` to `end` (exclusive)."""
        first = max(start - self.start, 0) >> PAGE_SHIFT
        last = -(-max(end - self.start, 0) >> PAGE_SHIFT)
        pages = self.pages[first:last]
        return pages[pages >= 0]


@dataclass(frozen=True, slots=True)
class VmapAreas:
    """The areas with a struct vm_struct, sorted by address."""

    areas: tuple[VmapArea, ...] = ()
    whole: bool = True
    unreadable: int = 0
    """Unreadable areas, plus unreadable pages of readable areas."""

    @property
    def counted(self) -> int:
        """Number of pages that the kernel's vmalloc counter should have."""
        return sum(len(area.pages) for area in self.areas if area.is_counted)


@dataclass(frozen=True, slots=True, eq=False)
class PercpuPages:
    """The pages of percpu memory, as sorted pfns, int64."""

    first: Pfns = field(default_factory=no_pfns)
    """Pages of the first chunk: static variables, memory reserved for modules, dynamic memory."""
    chunks: Pfns = field(default_factory=no_pfns)
    """Pages of all other chunks, which are in vmalloc areas."""
    populated: int = 0
    """pcpu_nr_populated: populated pages of one unit, summed over all chunks."""
    units: int = 0
    """pcpu_nr_units: Percpu of /proc/meminfo is `populated` times this."""
    cpus: int = 0
    """Number of possible CPUs. Each has a unit; there may be more units, which have no pages."""
    whole: bool = True
    unreadable: int = 0
    """Unreadable chunks, plus pages that are not mapped."""

    @property
    def counted(self) -> int:
        """Number of pages by the kernel's counter, without units that belong to no CPU."""
        return self.populated * min(self.units, self.cpus)


@dataclass(frozen=True, slots=True)
class MemmapPages:
    """The pages that contain struct pages, each once."""

    ranges: tuple[Range, ...] = ()
    whole: bool = True
    unreadable: int = 0
    """Number of virtual pages whose page tables cannot be read."""
    extensions: tuple[Range, ...] = ()
    """Pages with struct page_ext, which the kernel counts as well: page_owner, allocation tags."""

    @property
    def pages(self) -> int:
        """Number of pages."""
        return count(self.ranges)


@dataclass(frozen=True, slots=True)
class Resource:
    """A line of /proc/iomem, in bytes, `end` exclusive."""

    start: int
    end: int
    name: str
    depth: int
    """Depth in the tree; 0 at the top."""

    @property
    def start_pfn(self) -> int:
        """First pfn that overlaps the resource."""
        return self.start >> PAGE_SHIFT

    @property
    def end_pfn(self) -> int:
        """One after the last pfn that overlaps the resource."""
        return -(-self.end >> PAGE_SHIFT)


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources of physical memory in the order of /proc/iomem: a parent, then its children."""

    resources: tuple[Resource, ...] = ()
    whole: bool = True
    unreadable: int = 0
    """Number of unreadable resources and names."""


@dataclass(frozen=True, slots=True)
class BootReserved:
    """memblock.reserved: pfns of boot-time allocations.

    It still includes memory that was freed after boot.
    """

    ranges: tuple[Range, ...] = ()
    whole: bool = True
    unreadable: int = 0
    """1 if the list cannot be read or is inconsistent; then `ranges` is empty."""


@dataclass(frozen=True, slots=True)
class ModuleRange:
    """Address range of one part of a module, `end` exclusive."""

    part: str
    """Such as "text", "data", "rodata"; "core" and "init" in kernels before v6.4."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Module:
    """A loaded module."""

    name: str
    address: int
    """Address of its struct module."""
    ranges: tuple[ModuleRange, ...]

    def range_at(self, address: int) -> ModuleRange | None:
        """Return the part that contains this address, or None."""
        return next((r for r in self.ranges if r.start <= address < r.end), None)


@dataclass(frozen=True, slots=True)
class Modules:
    """The loaded modules."""

    modules: tuple[Module, ...] = ()
    whole: bool = True
    unreadable: int = 0
    """Number of unreadable modules."""

    def at(self, address: int) -> Module | None:
        """Return the module that contains this address, or None."""
        return next((m for m in self.modules if m.range_at(address) is not None), None)
