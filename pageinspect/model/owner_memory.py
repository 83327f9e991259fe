# SPDX-License-Identifier: GPL-2.0-only
"""Memory that the kernel's structures assign to an owner: page tables, BPF, the kernel's image.

Common fields: `whole` is False if a list was not followed to its end; `unreadable` counts items
that could not be read or are invalid. Names are untrusted text of bounded length.
"""

from dataclasses import dataclass, field

from .kernel_memory import Pfns, no_pfns
from .ranges import Range

NamedRange = tuple[str, Range]


@dataclass(frozen=True, slots=True, eq=False)
class PageTablePages:
    """Page tables, as arrays of pfns, int64."""

    processes: tuple[tuple[str, Pfns], ...] = ()
    """For each address space the name of its process, such as "bash[812]", and its tables."""
    kernel: Pfns = field(default_factory=no_pfns)
    """Tables of the kernel's own address space."""
    whole: bool = True
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class BpfPart:
    """Virtual memory of BPF, end exclusive."""

    name: str
    """Such as "program packs", "program NAME" or "map NAME"."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class BpfMemory:
    """The virtual memory of BPF programs and maps that is in vmalloc areas."""

    parts: tuple[BpfPart, ...] = ()
    whole: bool = True
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class KernelImage:
    """The kernel's own image in memory, as pfn ranges."""

    sections: tuple[NamedRange, ...] = ()
    """("code", range), "rodata", "data", "init", "bss", "brk" in order of addresses.

    A page with bytes of two sections is in the first. brk is memory that was allocated in early
    boot from the end of the image."""


@dataclass(frozen=True, slots=True)
class StaticMemory:
    """Memory that a variable of the kernel refers to, such as hash tables."""

    parts: tuple[NamedRange, ...] = ()
    """Name and pfn range."""
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class TraceMemory:
    """Memory of tracing, as pfn ranges."""

    parts: tuple[NamedRange, ...] = ()
    """Name, such as "ring buffer (global)", and pfn range; one for each allocation."""
    whole: bool = True
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class BlockRequests:
    """The pages with the requests of block devices."""

    parts: tuple[NamedRange, ...] = ()
    """The name of the device, and a pfn range; one for each allocation."""
    whole: bool = True
    unreadable: int = 0
