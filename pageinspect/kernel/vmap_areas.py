# SPDX-License-Identifier: GPL-2.0-only
"""Reads the vmalloc areas with their callers and the pages they own."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from drgn import FaultError, Object, Program, Type, offsetof

from ..model.arch import PAGE_SHIFT, SECTION_PFNS
from ..model.kernel_memory import (
    VM_DMA_COHERENT,
    VM_NO_GUARD,
    Pfns,
    VmapArea,
    VmapAreas,
    no_pfns,
)
from ..model.layout import PageLayout
from ..target.vmcoreinfo import MAX_SECTIONS
from .structures import add_offset, read_variable, require_structure

_MAX_NODES = 1 << 10
"""Maximum number of vmap_nodes; the kernel has at most 128."""
_MAX_AREAS = 1 << 22
_MAX_PAGES = 1 << 27
"""Maximum number of pages in all areas: 512 GiB of memory."""
_AT_ONCE = 1 << 17
"""Number of pointers that are read at once: 1 MiB."""


def read_vmap_areas(prog: Program, layout: PageLayout) -> VmapAreas:
    """Read the vmalloc areas in use; raises MissingStructureError.

    Areas without a struct vm_struct are left out: those of vm_map_ram(), which own no pages, and
    freed areas that are not purged yet.
    """
    with require_structure("tree of vmalloc areas"):
        types = _Types(prog.type("struct vmap_area"), prog.type("struct vm_struct"))
        reader = _Reader(prog, layout, types)
        roots = _roots(prog, reader)
    for root in roots:
        for address in reader.tree(root):
            reader.add(address)
    areas = sorted(reader.areas, key=lambda area: area.start)
    return VmapAreas(tuple(areas), reader.whole, reader.unreadable)


def _roots(prog: Program, reader: "_Reader") -> list[int]:
    """Return the addresses of the struct rb_root of all trees.

    Since Linux kernel commit d093602919ad ("mm: vmalloc: remove global vmap_area_root rb-tree")
    (in v6.9), each struct vmap_node has one. Before, there is one global tree.
    """
    try:
        nodes = prog["vmap_nodes"]
    except LookupError:
        return [prog["vmap_area_root"].address_]
    try:
        number, first = read_variable(prog, "nr_vmap_nodes"), nodes[0].busy.root.address_
        second = nodes[1].busy.root.address_
    except FaultError:
        reader.missed()
        return []
    if not 0 < number <= _MAX_NODES:
        reader.missed()
        return []
    return [add_offset(first, i * (second - first)) for i in range(number)]


@dataclass(frozen=True, slots=True)
class _Types:
    area: Type
    vm: Type


@dataclass(slots=True)
class _Reader:
    prog: Program
    layout: PageLayout
    types: _Types
    areas: list[VmapArea] = field(default_factory=list)
    whole: bool = True
    unreadable: int = 0
    _seen: set[int] = field(default_factory=set)
    _pages: int = 0

    def missed(self) -> None:
        """Count an unreadable item, after which the list of areas may be incomplete."""
        self.whole = False
        self.unreadable += 1

    def tree(self, root: int) -> Iterator[Object]:
        """Yield each struct vmap_area of a tree, by value."""
        link = int(offsetof(self.types.area, "rb_node"))
        try:
            waiting = [self.prog.read_u64(root)]
        except FaultError:
            self.missed()
            return
        while waiting:
            node = waiting.pop()
            if not node:
                continue
            if node in self._seen or len(self._seen) >= _MAX_AREAS:
                self.whole = False
                continue
            self._seen.add(node)
            try:
                area = Object(self.prog, self.types.area, address=add_offset(node, -link)).read_()
            except (FaultError, ValueError):
                self.missed()
                continue
            waiting += [area.rb_node.rb_right.value_(), area.rb_node.rb_left.value_()]
            yield area

    def add(self, area: Object) -> None:
        """Add an area with the data of its struct vm_struct."""
        address = area.vm.value_()
        if not address:
            return
        try:
            vm = Object(self.prog, self.types.vm, address=address).read_()
        except FaultError:
            self.missed()
            return
        start, end, flags = area.va_start.value_(), area.va_end.value_(), vm.flags.value_()
        n = _owned(vm, flags)
        if n > max(end - start, 0) >> PAGE_SHIFT or self._pages + n > _MAX_PAGES:
            self.missed()
            n = 0
        self._pages += n
        pages = self._pfns(vm.pages.value_(), n)
        self.areas.append(VmapArea(start, end, flags, vm.caller.value_(), address, pages))

    def _pfns(self, address: int, n: int) -> Pfns:
        """Return the pfns of an array of `n` pointers to struct pages; -1 for invalid ones."""
        if not n:
            return no_pfns()
        parts = [
            self._pfns_at_once(add_offset(address, 8 * at), min(_AT_ONCE, n - at))
            for at in range(0, n, _AT_ONCE)
        ]
        pfns = np.concatenate(parts)
        self.unreadable += int(np.count_nonzero(pfns < 0))
        return pfns

    def _pfns_at_once(self, address: int, n: int) -> Pfns:
        try:
            data = self.prog.read(address, 8 * n)
        except FaultError:
            return np.full(n, -1, np.int64)
        words, vmemmap = np.frombuffer(data, np.uint64), np.uint64(self.layout.vmemmap)
        pfns, rest = np.divmod(words - vmemmap, np.uint64(self.layout.struct_size))
        most = np.uint64(MAX_SECTIONS * SECTION_PFNS)
        wrong = (words < vmemmap) | (rest != 0) | (pfns >= most)
        found: Pfns = pfns.astype(np.int64)
        found[wrong] = -1
        return found


def _owned(vm: Object, flags: int) -> int:
    """Return the number of entries of the array `pages` of a struct vm_struct, one per page.

    dma_common_pages_remap() sets `pages` but not nr_pages: then the size is used.
    """
    if not vm.pages:
        return 0
    number: int = vm.nr_pages.value_()
    if not number and flags & VM_DMA_COHERENT:
        size: int = vm.size.value_()
        number = (size >> PAGE_SHIFT) - (0 if flags & VM_NO_GUARD else 1)
    return max(number, 0)
