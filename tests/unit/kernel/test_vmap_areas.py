# SPDX-License-Identifier: GPL-2.0-only
"""vmalloc areas, read from trees made by hand."""

from dataclasses import dataclass, field

import pytest
from drgn import offsetof
from kernel_by_hand import BASE, Kernel
from synthetic import MODERN, SIZE, VMEMMAP

from pageinspect.kernel import vmap_areas
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.kernel.vmap_areas import read_vmap_areas
from pageinspect.model.kernel_memory import VM_ALLOC, VM_DMA_COHERENT, VM_IOREMAP, VmapAreas

VMALLOC = 0xFFFFC90000000000
PUT_PAGES = 0x204
GONE = 0xFFFF8FFFFFFFF000


def page(pfn: int) -> int:
    return VMEMMAP + pfn * SIZE


@dataclass
class Trees:
    """vmap_nodes with two trees of areas, or vmap_area_root with one."""

    nodes: bool = True
    kernel: Kernel = field(default_factory=Kernel)

    def __post_init__(self) -> None:
        k = self.kernel
        rb_node = k.struct("rb_node", color=k.ulong, rb_right=k.void_p, rb_left=k.void_p)
        self.root = k.struct("rb_root", rb_node=k.void_p)
        # The node is not at the start, and nr_pages grew from unsigned int to unsigned long.
        self.area = k.struct(
            "vmap_area", va_start=k.ulong, va_end=k.ulong, rb_node=rb_node, vm=k.void_p
        )
        self.vm = k.struct(
            "vm_struct",
            size=k.ulong,
            flags=k.ulong,
            pages=k.void_p,
            nr_pages=k.ulong if self.nodes else k.uint,
            caller=k.void_p,
        )
        if self.nodes:
            busy = k.struct("rb_list", root=self.root, lock=k.ulong)
            node = k.struct("vmap_node", pool=k.array(k.ulong, 3), busy=busy)
            array = k.room(64 * 2)
            k.variable("vmap_nodes", k.pointer(node), array)
            k.variable("nr_vmap_nodes", k.uint, 2)
            size = 8 * 5
            self.roots = [array + 24 + i * size for i in range(2)]
        else:
            self.roots = [k.variable("vmap_area_root", self.root)]

    def struct_vm(self, *pfns: int, **values: int) -> int:
        given = {"flags": VM_ALLOC, "nr_pages": len(pfns), "caller": 0x1234, **values}
        if pfns:
            given.setdefault("pages", self.kernel.words(*(page(pfn) for pfn in pfns)))
        return self.kernel.make(self.vm, **given)

    def add(self, number: int, vm: int, *, left: int = 0, right: int = 0, pages: int = 5) -> int:
        start = VMALLOC + number * 0x100000
        return self.kernel.make(
            self.area,
            va_start=start,
            va_end=start + pages * 4096,
            vm=vm,
            rb_node__rb_left=left and left + self.link,
            rb_node__rb_right=right and right + self.link,
        )

    @property
    def link(self) -> int:
        return int(offsetof(self.area, "rb_node"))

    def plant(self, tree: int, area: int) -> None:
        self.kernel.write(self.roots[tree], (area + self.link).to_bytes(8, "little"))

    def read(self) -> VmapAreas:
        return read_vmap_areas(self.kernel.prog, MODERN)


@pytest.mark.parametrize("nodes", [True, False])
def test_areas_of_all_trees_come_in_order_with_their_pages(nodes: bool) -> None:
    trees = Trees(nodes)
    first = trees.add(1, trees.struct_vm(7, 9, 8))
    last = trees.add(3, trees.struct_vm(40, caller=0x5678))
    trees.plant(0, trees.add(2, trees.struct_vm(flags=VM_IOREMAP), left=first, right=last))
    if nodes:
        trees.plant(1, trees.add(0, trees.struct_vm(1)))
    found = trees.read()
    assert (found.whole, found.unreadable) == (True, 0)
    assert [area.pages.tolist() for area in found.areas] == [[1]] * nodes + [[7, 9, 8], [], [40]]
    assert [area.caller for area in found.areas][-1] == 0x5678
    assert [area.start for area in found.areas] == sorted(area.start for area in found.areas)
    assert found.counted == 4 + nodes


def test_an_area_without_vm_struct_is_left_out_and_others_behind_it_are_not() -> None:
    trees = Trees()
    trees.plant(0, trees.add(1, 0, right=trees.add(2, trees.struct_vm(5))))
    found = trees.read()
    assert [area.pages.tolist() for area in found.areas] == [[5]]
    assert (found.whole, found.unreadable) == (True, 0)


def test_pages_that_vmap_took_over_are_owned_and_not_counted() -> None:
    trees = Trees()
    dma = trees.struct_vm(4, 5, 6, flags=VM_DMA_COHERENT, nr_pages=0, size=4 * 4096)
    put = trees.add(1, trees.struct_vm(1, 2, flags=PUT_PAGES))
    trees.plant(0, trees.add(2, dma, left=put))
    found = trees.read()
    assert [area.pages.tolist() for area in found.areas] == [[1, 2], [4, 5, 6]]
    assert found.counted == 0


def test_pages_at_addresses_inside_an_area() -> None:
    trees = Trees()
    words = trees.kernel.words(page(7), 0, page(8), page(9))
    trees.plant(0, trees.add(0, trees.struct_vm(nr_pages=4, pages=words)))
    (area,) = trees.read().areas
    assert area.between(VMALLOC + 4096, VMALLOC + 3 * 4096).tolist() == [8]
    assert area.between(VMALLOC + 4095, VMALLOC + 4097).tolist() == [7]
    assert area.between(VMALLOC - 4096, VMALLOC + 4096).tolist() == [7]
    assert area.between(0, VMALLOC).tolist() == []


@pytest.mark.parametrize("word", [0, page(3) + 8, VMEMMAP - SIZE, (1 << 64) - 8])
def test_a_pointer_to_no_struct_page_is_counted(word: int) -> None:
    trees = Trees()
    words = trees.kernel.words(page(7), word)
    trees.plant(0, trees.add(0, trees.struct_vm(nr_pages=2, pages=words)))
    found = trees.read()
    assert found.areas[0].pages.tolist() == [7, -1]
    assert (found.whole, found.unreadable) == (True, 1)


def test_an_array_that_cannot_be_read_is_counted() -> None:
    trees = Trees()
    trees.plant(0, trees.add(0, trees.struct_vm(nr_pages=3, pages=GONE)))
    found = trees.read()
    assert found.areas[0].pages.tolist() == [-1] * 3
    assert found.unreadable == 3


@pytest.mark.parametrize("number", [6, 1 << 60])
def test_an_area_with_more_pages_than_addresses_has_none(number: int) -> None:
    trees = Trees()
    trees.plant(0, trees.add(0, trees.struct_vm(1, nr_pages=number), pages=5))
    found = trees.read()
    assert found.areas[0].pages.tolist() == []
    assert (found.whole, found.unreadable) == (False, 1)


def test_no_more_pages_are_read_than_there_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vmap_areas, "_MAX_PAGES", 3)
    trees = Trees()
    trees.plant(0, trees.add(0, trees.struct_vm(1, 2), right=trees.add(1, trees.struct_vm(1, 2))))
    found = trees.read()
    assert sum(len(area.pages) for area in found.areas) == 2
    assert not found.whole


def test_long_arrays_are_read_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vmap_areas, "_AT_ONCE", 2)
    trees = Trees()
    trees.plant(0, trees.add(0, trees.struct_vm(5, 4, 3, 2, 1)))
    assert trees.read().areas[0].pages.tolist() == [5, 4, 3, 2, 1]


def test_a_tree_that_leads_round_or_astray_is_not_whole() -> None:
    trees = Trees()
    area = trees.add(1, trees.struct_vm(5))
    for side, to in (("rb_left", area + trees.link), ("rb_right", 8)):
        trees.kernel.set(trees.area, area, f"rb_node.{side}", to)
    trees.plant(0, area)
    trees.plant(1, trees.add(2, GONE, left=trees.add(3, trees.struct_vm(6))))
    found = trees.read()
    assert [area.pages.tolist() for area in found.areas] == [[5], [6]]
    assert (found.whole, found.unreadable) == (False, 2)


def test_the_number_of_areas_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vmap_areas, "_MAX_AREAS", 1)
    trees = Trees()
    trees.plant(0, trees.add(0, trees.struct_vm(1), right=trees.add(1, trees.struct_vm(2))))
    found = trees.read()
    assert [area.pages.tolist() for area in found.areas] == [[1]]
    assert not found.whole


@pytest.mark.parametrize("number", [0, 1 << 31])
def test_a_number_of_trees_that_cannot_be(number: int) -> None:
    trees = Trees()
    trees.kernel.variable("nr_vmap_nodes", trees.kernel.uint, number)
    assert not trees.read().whole


def test_nodes_that_cannot_be_read() -> None:
    trees = Trees()
    at = trees.kernel.prog["vmap_nodes"].address_
    trees.kernel.write(at, (BASE - 4096).to_bytes(8, "little"))
    assert trees.read() == VmapAreas((), whole=False, unreadable=2)


def test_a_kernel_without_such_a_tree() -> None:
    kernel = Kernel()
    with pytest.raises(MissingStructureError, match="no known tree of vmalloc areas") as caught:
        read_vmap_areas(kernel.prog, MODERN)
    assert caught.value.hint
