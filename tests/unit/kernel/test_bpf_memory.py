# SPDX-License-Identifier: GPL-2.0-only
"""The memory of BPF programs and maps, read from lists and IDRs made by hand."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from drgn import offsetof
from kernel_by_hand import Kernel

from pageinspect.kernel import bpf_memory
from pageinspect.kernel.bpf_memory import read_bpf_memory
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.kernel_memory import VM_ALLOC, VmapArea, VmapAreas
from pageinspect.model.owner_memory import BpfMemory, BpfPart

PAGE = 4096
LARGE = 512 * PAGE
START = 0xFFFFC90000000000
GONE = 0xFFFF8FFFFFFFF000
SLOTS = 64


@dataclass
class Bpf:
    """Programs and maps in IDRs, and packs. All are in the direct map, which is a large area."""

    nodes: int = 1
    kernel: Kernel = field(default_factory=Kernel)
    areas: list[VmapArea] = field(default_factory=list)

    def __post_init__(self) -> None:
        k = self.kernel
        array = k.struct("xarray", flags=k.ulong, xa_head=k.void_p)
        self.idr = k.struct("idr", idr_rt=array, idr_next=k.uint)
        self.node = k.struct("xa_node", shift=k.char, slots=k.array(k.void_p, SLOTS))
        self.pack = k.struct("bpf_prog_pack", list=k.list_head, ptr=k.void_p)
        self.aux = k.struct("bpf_prog_aux", id=k.ulong, name=k.array(k.char, 16))
        self.program = k.struct(
            "bpf_prog", jited_len=k.uint, bpf_func=k.void_p, aux=k.pointer(self.aux)
        )
        kinds = k.enum("bpf_map_type", ["BPF_MAP_TYPE_UNSPEC", "BPF_MAP_TYPE_HASH"])
        self.map = k.struct("bpf_map", map_type=kinds, name=k.array(k.char, 16))
        self.htab = k.struct("bpf_htab", map=self.map, buckets=k.void_p, elems=k.void_p)
        for name in ("prog_idr", "map_idr"):
            k.variable(name, self.idr)
        self.packs = k.ring(self.pack)
        k.variable("pack_list", k.list_head, at=self.packs)

    def area(self, start: int, pages: int) -> None:
        end = start + (pages + 1) * PAGE
        self.areas.append(VmapArea(start, end, VM_ALLOC, 0, 0, np.arange(pages)))

    def fill(self, idr: str, *pointers: int, shift: int = 0) -> int:
        k = self.kernel
        node = k.make(self.node, shift=shift)
        slots = node + offsetof(self.node, "slots")
        for i, pointer in enumerate(pointers):
            k.write(slots + 8 * i, pointer.to_bytes(8, "little"))
        k.set(self.idr, k.prog[idr].address_, "idr_rt.xa_head", node + 2)
        return node

    def make_program(self, name: str, code: int = 0, length: int = 0) -> int:
        aux = self.kernel.make(self.aux, name=name.encode().ljust(16, b"\0"))
        return self.kernel.make(
            self.program, at=self.page(), jited_len=length, bpf_func=code, aux=aux
        )

    def page(self) -> int:
        return self.kernel.room(PAGE, PAGE)

    def read(self) -> BpfMemory:
        areas = sorted(self.areas, key=lambda area: area.start)
        return read_bpf_memory(self.kernel.prog, VmapAreas(tuple(areas)))


@pytest.fixture(autouse=True)
def _nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpf_memory, "for_each_node", lambda _prog: iter((0, 1)))


def test_a_pack_has_2_mib_for_each_node() -> None:
    made = Bpf()
    made.area(START, 2000)
    made.area(START + (10 << 30), 512)
    addresses = (START + 8 * PAGE, START + (10 << 30), GONE)
    made.kernel.ring(
        made.pack, *(made.kernel.make(made.pack, ptr=at) for at in addresses), head=made.packs
    )
    found = made.read()
    assert found.parts == (
        BpfPart("program packs", START + 8 * PAGE, START + 8 * PAGE + 2 * LARGE),
        BpfPart("program packs", START + (10 << 30), START + (10 << 30) + 513 * PAGE),
    )
    assert (found.whole, found.unreadable) == (True, 0)


def test_a_program_has_its_area_and_its_code() -> None:
    made = Bpf()
    made.area(START, 30)
    program = made.make_program("filter", START + 5 * PAGE + 64, 2 * PAGE)
    made.area(program, 1)
    small = made.make_program("", START, 0)
    made.fill("prog_idr", small, 0, program)
    assert made.read().parts == (
        BpfPart("program filter", program, program + 2 * PAGE),
        BpfPart("program filter", START + 5 * PAGE, START + 7 * PAGE + 64),
    )


def test_a_map_has_its_area_and_those_that_it_refers_to() -> None:
    made = Bpf()
    k = made.kernel
    made.area(START, 4)
    made.area(START + LARGE, 4)
    embedded = k.make(made.map, at=made.page(), name=b"array")
    made.area(embedded, 0)
    hashed = k.make(
        made.htab,
        at=made.page(),
        map__map_type=1,
        map__name=b"hash",
        buckets=START,
        elems=START + LARGE,
    )
    made.fill("map_idr", embedded, hashed)
    found = {(part.name, part.start) for part in made.read().parts}
    assert found == {("map array", embedded), ("map hash", START), ("map hash", START + LARGE)}


def test_what_cannot_be_read_is_counted() -> None:
    made = Bpf()
    made.fill("prog_idr", GONE, made.make_program("kept"))
    made.fill("map_idr", GONE)
    made.kernel.ring(made.pack, GONE, head=made.packs)
    found = made.read()
    assert (found.parts, found.whole, found.unreadable) == ((), False, 3)


def test_an_idr_that_leads_round_is_not_whole() -> None:
    made = Bpf()
    node = made.fill("prog_idr", made.make_program("p"), shift=6)
    slots = node + offsetof(made.node, "slots")
    made.kernel.write(slots, (node + 2).to_bytes(8, "little"))
    assert not made.read().whole


def test_programs_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Bpf()
    made.fill("prog_idr", made.make_program("p"))
    assert made.read().whole
    monkeypatch.setattr(bpf_memory, "_MAX_ITEMS", 1)
    assert not made.read().whole


def test_kernels_without_packs_or_without_bpf() -> None:
    made = Bpf()
    del made.kernel._objects["pack_list"]
    assert made.read() == BpfMemory()
    with pytest.raises(MissingStructureError, match="no known BPF programs and maps"):
        read_bpf_memory(Kernel().prog, VmapAreas())
