"""What the kernel's own structures say of its memory: vmalloc areas, percpu chunks, resources.

Each of them says how it was read as well: `whole` is False where a list was not followed to its
end, and `unreadable` counts what lies in memory that could not be read or makes no sense. Names are
the kernel's or its users': untrusted text, of bounded length.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from .arch import PAGE_SHIFT
from .ranges import Range, count

Pfns = npt.NDArray[np.int64]

# The kernel's VM_* flags of a struct vm_struct. They are macros: the types do not have them.
VM_IOREMAP = 0x1
VM_ALLOC = 0x2
VM_MAP = 0x4
VM_DMA_COHERENT = 0x10
VM_NO_GUARD = 0x40
VM_MAP_PUT_PAGES = 0x200


def no_pfns() -> Pfns:
    """Return an empty array of pfns."""
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class VmapArea:
    """A range of vmalloc addresses that has an owner, with the pages that the area owns."""

    start: int
    end: int
    """Exclusive; a guard page is part of the range."""
    flags: int
    """VM_* flags."""
    caller: int
    """Address in the code that asked for the area; 0 where none was noted."""
    vm: int
    """Address of its struct vm_struct."""
    pages: Pfns
    """pfns, in the order of the addresses from `start` up; -1 for those that cannot be read.

    None of an area that maps pages of others, as those of ioremap() and percpu chunks do."""

    @property
    def is_counted(self) -> bool:
        """Whether the kernel counts these pages as vmalloc's: those that vmalloc() allocated."""
        return bool(self.flags & VM_ALLOC) and not self.flags & VM_MAP_PUT_PAGES

    def between(self, start: int, end: int) -> Pfns:
        """Return the pfns that can be read of the pages at these addresses, `end` exclusive."""
        first = max(start - self.start, 0) >> PAGE_SHIFT
        last = -(-max(end - self.start, 0) >> PAGE_SHIFT)
        pages = self.pages[first:last]
        return pages[pages >= 0]


@dataclass(frozen=True, slots=True)
class VmapAreas:
    """The areas with a struct vm_struct, by their addresses."""

    areas: tuple[VmapArea, ...] = ()
    whole: bool = True
    unreadable: int = 0
    """Areas that cannot be read, and pages of others."""

    @property
    def counted(self) -> int:
        """Number of pages that the kernel counts as vmalloc's."""
        return sum(len(area.pages) for area in self.areas if area.is_counted)


@dataclass(frozen=True, slots=True, eq=False)
class PercpuPages:
    """The pages behind percpu memory, as sorted pfns."""

    first: Pfns = field(default_factory=no_pfns)
    """Of the first chunk: static variables, what is reserved for modules, and dynamic memory."""
    chunks: Pfns = field(default_factory=no_pfns)
    """Of all other chunks, which lie in vmalloc areas."""
    populated: int = 0
    """pcpu_nr_populated: populated pages of one unit, summed over all chunks."""
    units: int = 0
    """pcpu_nr_units: what the kernel multiplies this by for Percpu of /proc/meminfo."""
    cpus: int = 0
    """Possible CPUs, each of which has a unit. Units can be more, and these have no pages."""
    whole: bool = True
    unreadable: int = 0
    """Chunks that cannot be read, and pages that are not mapped."""

    @property
    def counted(self) -> int:
        """Pages that the kernel counts, but for units that no CPU has."""
        return self.populated * min(self.units, self.cpus)


@dataclass(frozen=True, slots=True)
class MemmapPages:
    """The pages that hold struct pages, each once."""

    ranges: tuple[Range, ...] = ()
    whole: bool = True
    unreadable: int = 0
    """Pages of the vmemmap whose page tables cannot be read."""

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
    """0 for those at the top."""

    @property
    def start_pfn(self) -> int:
        """First pfn that the resource touches."""
        return self.start >> PAGE_SHIFT

    @property
    def end_pfn(self) -> int:
        """One behind the last pfn that the resource touches."""
        return -(-self.end >> PAGE_SHIFT)


@dataclass(frozen=True, slots=True)
class Resources:
    """The resources of physical memory, in the order of /proc/iomem: a parent, then its parts."""

    resources: tuple[Resource, ...] = ()
    whole: bool = True
    unreadable: int = 0
    """Resources or names that cannot be read."""


@dataclass(frozen=True, slots=True)
class BootReserved:
    """What memblock has as reserved: pfns that boot-time allocations touch.

    Parts that were freed since are still in the list.
    """

    ranges: tuple[Range, ...] = ()
    whole: bool = True
    unreadable: int = 0
    """1 where the list cannot be read or contradicts itself; then there are no ranges."""


@dataclass(frozen=True, slots=True)
class ModuleRange:
    """Addresses of a part of a module, `end` exclusive."""

    part: str
    """Such as "text", "data", "rodata"; "core" and "init" of older kernels."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Module:
    """A loaded module."""

    name: str
    address: int
    """Of its struct module."""
    ranges: tuple[ModuleRange, ...]

    def range_at(self, address: int) -> ModuleRange | None:
        """Return the part that has this address."""
        return next((r for r in self.ranges if r.start <= address < r.end), None)


@dataclass(frozen=True, slots=True)
class Modules:
    """The modules that are loaded."""

    modules: tuple[Module, ...] = ()
    whole: bool = True
    unreadable: int = 0
    """Modules that cannot be read."""

    def at(self, address: int) -> Module | None:
        """Return the module that has this address."""
        return next((m for m in self.modules if m.range_at(address) is not None), None)
