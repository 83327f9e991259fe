# SPDX-License-Identifier: GPL-2.0-only
"""Reads which vmalloc memory belongs to BPF programs and maps.

Programs share packs of machine code. A program has its instructions in an area of its own, and so
has a large map its values. Small maps are slab objects, and are not listed.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from drgn import FaultError, Object, Program, offsetof
from drgn.helpers.linux.nodemask import for_each_node

from ..model.arch import LARGE_PAGE_SIZE, PAGE_SIZE
from ..model.kernel_memory import VmapArea, VmapAreas
from ..model.owner_memory import BpfMemory, BpfPart
from .structures import ListWalk, add_offset, require_structure
from .xarrays import XarrayWalk

_MAX_PACKS = 1 << 16
_MAX_ITEMS = 1 << 20
"""Maximum number of programs and maps, with the nodes of the IDRs that have them."""
_MAX_NAME = 64
PACKS = "program packs"

# Maps that have memory beside struct bpf_map: the type of map, its structure, pointers in it.
_MAPS = {
    "BPF_MAP_TYPE_HASH": ("struct bpf_htab", ("buckets", "elems")),
    "BPF_MAP_TYPE_PERCPU_HASH": ("struct bpf_htab", ("buckets", "elems")),
    "BPF_MAP_TYPE_LRU_HASH": ("struct bpf_htab", ("buckets", "elems")),
    "BPF_MAP_TYPE_LRU_PERCPU_HASH": ("struct bpf_htab", ("buckets", "elems")),
    "BPF_MAP_TYPE_HASH_OF_MAPS": ("struct bpf_htab", ("buckets", "elems")),
    "BPF_MAP_TYPE_STACK_TRACE": ("struct bpf_stack_map", ("elems",)),
}


def read_bpf_memory(prog: Program, areas: VmapAreas) -> BpfMemory:
    """Read the memory of BPF that is in these vmalloc areas; raises MissingStructureError.

    Since Linux kernel commit 57631054fae6 ("bpf: Introduce bpf_prog_pack allocator") (in v5.18),
    there are packs. Kernels without them have each program's machine code in an area of its own.
    """
    with require_structure("BPF programs and maps"):
        program, map_ = prog.type("struct bpf_prog"), prog.type("struct bpf_map")
        idrs = [prog[name].idr_rt.address_ for name in ("prog_idr", "map_idr")]
        walk = XarrayWalk(prog, _MAX_ITEMS)
        kinds = {e.value: e.name for e in prog.type("enum bpf_map_type").enumerators or ()}
    reader = _Reader(prog, _Areas(areas), kinds)
    packs_whole = reader.add_packs()
    for address in walk.entries(idrs[0]):
        reader.add_program(Object(prog, program, address=address))
    for address in walk.entries(idrs[1]):
        reader.add_map(Object(prog, map_, address=address))
    return BpfMemory(tuple(reader.parts), walk.whole and packs_whole, reader.unreadable)


class _Areas:
    """Finds vmalloc areas by address."""

    def __init__(self, areas: VmapAreas) -> None:
        self._areas = areas.areas
        self._starts = [area.start for area in areas.areas]

    def at(self, address: int) -> VmapArea | None:
        """Return the area that contains an address, or None."""
        i = bisect_right(self._starts, address) - 1
        return self._areas[i] if i >= 0 and address < self._areas[i].end else None


@dataclass(slots=True)
class _Reader:
    prog: Program
    areas: _Areas
    kinds: dict[int, str]
    parts: list[BpfPart] = field(default_factory=list)
    unreadable: int = 0

    def add_packs(self) -> bool:
        """Add all packs; returns whether their list was followed to its end."""
        try:
            type_, head = self.prog.type("struct bpf_prog_pack"), self.prog["pack_list"].address_
            link, pointer = offsetof(type_, "list"), offsetof(type_, "ptr")
        except LookupError:
            return True
        walk = ListWalk(self.prog, _MAX_PACKS)
        for node in walk.nodes(head):
            try:
                start = self.prog.read_u64(add_offset(node, int(pointer - link)))
            except FaultError:
                self.unreadable += 1
                continue
            area = self.areas.at(start)
            if area is not None:
                end = min(start + self._pack_size(), area.end)
                self.parts.append(BpfPart(PACKS, start, end))
        return walk.whole

    def _pack_size(self) -> int:
        """Return the size of a pack: 2 MiB per possible node."""
        nodes = sum(1 for _ in for_each_node(self.prog))
        return LARGE_PAGE_SIZE * max(nodes, 1)

    def add_program(self, program: Object) -> None:
        """Add the instructions and the machine code of a program."""
        try:
            name = self._name("program", program.aux.name)
            code, length = program.bpf_func.value_(), program.jited_len.value_()
        except FaultError:
            self.unreadable += 1
            return
        self._add_area(name, program.address_)
        area = self.areas.at(code) if length else None
        if area is not None:
            start = code // PAGE_SIZE * PAGE_SIZE
            self.parts.append(BpfPart(name, start, min(code + length, area.end)))

    def add_map(self, map_: Object) -> None:
        """Add the values of a map."""
        try:
            name = self._name("map", map_.name)
            kind = self.kinds.get(map_.map_type.value_(), "")
            addresses = [map_.address_, *self._memory(map_, kind)]
        except FaultError:
            self.unreadable += 1
            return
        for address in addresses:
            self._add_area(name, address)

    def _memory(self, map_: Object, kind: str) -> Iterator[int]:
        structure, members = _MAPS.get(kind, ("", ()))
        if not structure:
            return
        try:
            found = Object(self.prog, self.prog.type(structure), address=map_.address_)
            pointers = [getattr(found, member) for member in members]
        except (LookupError, AttributeError):
            return
        for pointer in pointers:
            yield pointer.value_()

    def _name(self, what: str, name: Object) -> str:
        text = name.string_()[:_MAX_NAME].decode("utf-8", "replace")
        return f"{what} {text or '(no name)'}"

    def _add_area(self, name: str, address: int) -> None:
        """Add the whole area that contains an address, if there is one."""
        area = self.areas.at(address)
        if area is not None:
            self.parts.append(BpfPart(name, area.start, area.end))
