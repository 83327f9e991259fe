# SPDX-License-Identifier: GPL-2.0-only
"""Reads the kernel structures that owners of pages are found in."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from drgn import FaultError

from ..errors import PageInspectError
from ..kernel.block_requests import read_block_requests
from ..kernel.bpf_memory import read_bpf_memory
from ..kernel.kernel_image import read_kernel_image
from ..kernel.memblock import read_boot_reserved
from ..kernel.memmap_pages import read_memmap_pages
from ..kernel.module_memory import CodeNames, read_modules
from ..kernel.online import sections_with_pages
from ..kernel.page_ext import read_page_ext
from ..kernel.page_table_pages import read_page_table_pages
from ..kernel.percpu import read_percpu
from ..kernel.resources import read_resources
from ..kernel.static_memory import read_static_memory
from ..kernel.structures import MissingStructureError
from ..kernel.tasks import read_tasks
from ..kernel.trace_memory import read_trace_memory
from ..kernel.vmap_areas import read_vmap_areas
from ..model.allocations import PageExt
from ..model.arch import SECTION_PFNS
from ..model.kernel_memory import (
    BootReserved,
    MemmapPages,
    Modules,
    PercpuPages,
    Resources,
    VmapAreas,
)
from ..model.owner_memory import (
    BlockRequests,
    BpfMemory,
    KernelImage,
    PageTablePages,
    StaticMemory,
    TraceMemory,
)
from ..model.processes import Tasks
from ..model.ranges import Range, merge
from ..owners.structures import Structures
from ..target.page_tables import PageTables
from ..units import counted
from .inspector import Inspector

_TRIES = 3
"""How often a list of a running kernel is read again if it changed while it was followed."""

_WORDS = {
    "vmap": "vmalloc areas",
    "percpu": "percpu chunks",
    "page_ext": "records of allocations",
    "memmap": "page tables of struct pages",
    "resources": "resources of physical memory",
    "boot": "boot-time allocations",
    "modules": "modules",
    "tasks": "tasks",
    "tables": "page tables",
    "bpf": "BPF programs and maps",
    "image": "kernel image",
    "static": "memory of variables",
    "trace": "ring buffers of tracing",
    "block": "requests of block devices",
    "callers": "callers of vmalloc",
}
"""What each field of Structures has."""
STRUCTURE_NAMES = tuple(_WORDS)
_FROM = {"tables": ("tasks",)}
"""Fields that a field is read from, and which are read again with it: a process may have ended
since, and its page tables be used for something else."""


def read_structures(
    inspector: Inspector, wanted: Iterable[str]
) -> tuple[Structures, tuple[str, ...]]:
    """Read the wanted fields of Structures; also return a sentence for each problem.

    A field is None if this kernel lacks the structure. A list that changed while it was followed on
    a running kernel is read again a few times.
    """
    reader, wanted = _Reader(inspector), frozenset(wanted)
    names = [name for name in _WORDS if name in wanted]
    for name in names:
        reader.get(name)
    # One field may have had another one read again.
    found = {name: reader.get(name) for name in names}
    return Structures(**{k: v for k, v in found.items() if v is not None}), reader.all_problems


class _Reader:
    def __init__(self, inspector: Inspector) -> None:
        self._inspector = inspector
        self._prog = inspector.target.prog
        self._vmcoreinfo = inspector.target.vmcoreinfo
        self._layout = inspector.layout
        self._read: dict[str, Any] = {}
        self._problems: dict[str, list[str]] = {}

    @property
    def all_problems(self) -> tuple[str, ...]:
        """Sentences about all fields that were read, each about its last reading."""
        return tuple(text for texts in self._problems.values() for text in texts)

    def get(self, name: str) -> Any:
        """Return the value of a field, or None; each is read once."""
        if name not in self._read:
            self._read[name] = self._guarded(name)
        return self._read[name]

    def _guarded(self, name: str) -> Any:
        tries = _TRIES if self._inspector.target.provenance.changing else 0
        try:
            found = self._tried(name, tries)
        except (MissingStructureError, FaultError) as error:
            self._problems[name] = [f"{_WORDS[name]}: {error}"]
            return None
        self._problems[name] = list(self._problems_of(_WORDS[name], found))
        return found

    def _tried(self, name: str, tries: int) -> Any:
        """Return what was found; up to `tries` more times if it changed while it was read."""
        find: Callable[[], Any] = getattr(self, f"_{name}")
        for _ in range(tries):
            with contextlib.suppress(FaultError):
                found = find()
                if getattr(found, "whole", True):
                    return found
            for each in _FROM.get(name, ()):
                self._read.pop(each, None)
        return find()

    def _problems_of(self, what: str, found: Any) -> Iterator[str]:
        for each in getattr(found, "lacks", ()):
            yield f"{what}: this kernel lacks {each}"
        unreadable = getattr(found, "unreadable", 0)
        if unreadable:
            items, are = counted(unreadable, "item"), "is" if unreadable == 1 else "are"
            yield f"{what}: {items} could not be read, or {are} invalid"
        elif not getattr(found, "whole", True):
            why = "it is damaged, or the core lacks a part of it"
            if self._inspector.target.provenance.changing:
                why = f"it changed in each of {_TRIES + 1} readings, or is damaged"
            yield f"{what}: a list was not followed to its end: {why}"

    def _page_tables(self) -> PageTables:
        try:
            return PageTables(self._prog, self._vmcoreinfo)
        except KeyError as error:
            raise MissingStructureError(
                f"VMCOREINFO of this kernel has no {error.args[0]}",
                "the kernel's page tables cannot be found",
            ) from None

    @property
    def _end(self) -> int:
        """One after the last pfn."""
        return max((end for _, end in self._inspector.memory_map.spanned), default=0)

    def _vmap(self) -> VmapAreas:
        return read_vmap_areas(self._prog, self._layout)

    def _percpu(self) -> PercpuPages:
        return read_percpu(self._prog, self._page_tables())

    def _sections(self) -> list[Range]:
        """Return the pfns of all memory sections with struct pages, also of offline memory."""
        try:
            firsts, _ = sections_with_pages(self._prog)
        except (LookupError, FaultError, PageInspectError):
            return []
        return [(first, first + SECTION_PFNS) for first in firsts.tolist()]

    def _memmap(self) -> MemmapPages:
        spanned = merge((*self._inspector.memory_map.spanned, *self._sections()))
        ext = self.get("page_ext")
        return read_memmap_pages(self._page_tables(), self._layout, spanned, ext)

    def _page_ext(self) -> PageExt | None:
        return None if self._layout.unavailable else read_page_ext(self._prog)

    def _resources(self) -> Resources:
        return read_resources(self._prog)

    def _boot(self) -> BootReserved:
        return read_boot_reserved(self._prog)

    def _modules(self) -> Modules:
        return read_modules(self._prog)

    def _tasks(self) -> Tasks:
        return read_tasks(self._prog, self._layout)

    def _tables(self) -> PageTablePages:
        tasks = self.get("tasks") or Tasks((), (), (), (), 0)
        return read_page_table_pages(self._prog, self._vmcoreinfo, self._layout, tasks)

    def _bpf(self) -> BpfMemory:
        return read_bpf_memory(self._prog, self.get("vmap") or VmapAreas())

    def _image(self) -> KernelImage:
        return read_kernel_image(self._prog, self._vmcoreinfo)

    def _static(self) -> StaticMemory:
        return read_static_memory(self._prog, self._layout, self._end)

    def _trace(self) -> TraceMemory:
        return read_trace_memory(self._prog, self._end)

    def _block(self) -> BlockRequests:
        return read_block_requests(self._prog, self._layout, self._end)

    def _callers(self) -> dict[int, str]:
        names = CodeNames(self._prog, self.get("modules") or Modules())
        areas = self.get("vmap") or VmapAreas()
        return {caller: names.name(caller) for caller in {a.caller for a in areas.areas} - {0}}
