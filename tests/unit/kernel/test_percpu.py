# SPDX-License-Identifier: GPL-2.0-only
"""Pages behind percpu memory, read from chunks and page tables made by hand."""

from dataclasses import dataclass, field

import pytest
from kernel_by_hand import BASE, Kernel

from pageinspect.kernel import percpu
from pageinspect.kernel.percpu import read_percpu
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.kernel_memory import PercpuPages
from pageinspect.target.page_tables import PageTables

EMBEDDED = 0xFFFF888040000000
CHUNK = 0xFFFFE8FFFFC00000
OFFSETS = (0, 0x40000)
PAGE = 4096


@dataclass
class Percpu:
    """Two CPUs; the first chunk has pages 0 and 1 (static), 2 (reserved), 3 to 5 (dynamic)."""

    lists: str = "pcpu_chunk_lists"
    slots: int = 3
    types: int = 1
    kernel: Kernel = field(default_factory=Kernel)

    def __post_init__(self) -> None:
        k = self.kernel
        self.chunk = k.struct(
            "pcpu_chunk",
            list=k.list_head,
            free_bytes=k.uint,
            base_addr=k.void_p,
            nr_pages=k.uint,
            populated=k.array(k.ulong, 0),
        )
        pointer = k.pointer(self.chunk)
        heads = k.room(16 * self.slots * self.types)
        self.heads = [heads + 16 * i for i in range(self.slots * self.types)]
        for head in self.heads:
            k.ring(self.chunk, head=head)
        k.variable(self.lists, k.pointer(k.list_head), heads)
        self.dynamic = self.make(EMBEDDED + 3 * PAGE, 0b110, 3)
        reserved = self.make(EMBEDDED + 2 * PAGE, 0b1, 1)
        k.variable("pcpu_nr_slots", k.uint, self.slots)
        k.variable("pcpu_first_chunk", pointer, self.dynamic)
        k.variable("pcpu_reserved_chunk", pointer, reserved)
        k.variable("pcpu_base_addr", k.void_p, EMBEDDED)
        k.variable("pcpu_unit_offsets", k.pointer(k.ulong), k.words(*OFFSETS))
        k.variable("pcpu_nr_populated", k.ulong, 8)
        k.variable("pcpu_nr_units", k.uint, 2)
        k.map(EMBEDDED, 0x40000000, large=True)
        self.relink([self.dynamic])

    def make(self, base: int, populated: int, pages: int) -> int:
        bits = populated.to_bytes(-(-pages // 64) * 8, "little")
        chunk = self.kernel.make(self.chunk, extra=len(bits), base_addr=base, nr_pages=pages)
        self.kernel.write(chunk + 40, bits)
        return chunk

    def relink(self, *of_slots: list[int]) -> None:
        for head, chunks in zip(self.heads, of_slots, strict=False):
            self.kernel.ring(self.chunk, *chunks, head=head)

    def map_chunk(self, page: int, pfns: tuple[int, int]) -> None:
        for offset, pfn in zip(OFFSETS, pfns, strict=True):
            self.kernel.map(CHUNK + offset + page * PAGE, pfn * PAGE)

    def read(self) -> PercpuPages:
        return read_percpu(self.kernel.prog, PageTables(self.kernel.prog, {}, self.kernel.root))


@pytest.fixture(autouse=True)
def _two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(percpu, "for_each_possible_cpu", lambda _prog: iter((0, 1)))


FIRST = [0x40000 + unit + page for unit in (0, 0x40) for page in (0, 1, 2, 4, 5)]


def test_the_first_chunk_is_its_static_part_and_what_is_populated_of_the_others() -> None:
    found = Percpu().read()
    assert found.first.tolist() == FIRST
    assert found.chunks.tolist() == []
    assert (found.populated, found.units, found.cpus, found.counted) == (8, 2, 2, 16)
    assert (found.whole, found.unreadable) == (True, 0)


def test_other_chunks_are_mapped_page_by_page_for_each_cpu() -> None:
    made = Percpu()
    for page, pfns in ((0, (70, 71)), (65, (80, 60))):
        made.map_chunk(page, pfns)
    made.relink([], [made.make(CHUNK, 1 << 65 | 1, 66), made.dynamic])
    found = made.read()
    assert found.chunks.tolist() == [60, 70, 71, 80]
    assert found.first.tolist() == FIRST
    assert (found.whole, found.unreadable) == (True, 0)


def test_lists_by_type_of_chunk_and_lists_of_an_older_name() -> None:
    made = Percpu(types=2)
    made.kernel.enum("pcpu_chunk_type", ["ROOT", "MEMCG", "PCPU_NR_CHUNK_TYPES"])
    made.map_chunk(1, (70, 71))
    made.relink([], [], [], [], [], [made.make(CHUNK, 2, 2)])
    assert made.read().chunks.tolist() == [70, 71]
    older = Percpu("pcpu_slot")
    older.map_chunk(1, (70, 71))
    older.relink([older.make(CHUNK, 2, 2)])
    assert older.read().chunks.tolist() == [70, 71]


def test_units_of_no_cpu_have_no_pages() -> None:
    made = Percpu()
    made.kernel.variable("pcpu_nr_units", made.kernel.uint, 4)
    found = made.read()
    assert (found.units, found.counted) == (4, 16)


def test_pages_that_are_not_mapped_are_counted() -> None:
    made = Percpu()
    made.kernel.map(CHUNK, 70 * PAGE)
    made.relink([made.make(CHUNK, 0b11, 2)])
    found = made.read()
    assert found.chunks.tolist() == [70]
    assert (found.whole, found.unreadable) == (True, 3)


def test_page_tables_that_cannot_be_read_are_counted() -> None:
    made = Percpu()
    table = int.from_bytes(made.kernel.prog.read(BASE + made.kernel.root + 0x111 * 8, 8), "little")
    assert table & 1
    made.kernel.write(BASE + made.kernel.root + 0x111 * 8, (0x7FFFF000 | 1).to_bytes(8, "little"))
    found = made.read()
    assert found.first.tolist() == []
    assert found.unreadable == len(FIRST)


def test_a_list_that_leads_round_or_astray_is_not_whole() -> None:
    made = Percpu()
    made.map_chunk(0, (70, 71))
    chunk = made.make(CHUNK, 1, 1)
    made.relink([chunk])
    made.kernel.set(made.chunk, chunk, "list.next", chunk)
    found = made.read()
    assert (found.chunks.tolist(), found.whole) == ([70, 71], False)
    made.kernel.set(made.chunk, chunk, "list.next", 8)
    found = made.read()
    assert (found.chunks.tolist(), found.whole) == ([70, 71], False)
    assert found.unreadable == 1


@pytest.mark.parametrize("pages", [1 << 17, 1 << 31])
def test_a_chunk_that_cannot_be_so_large_is_counted(pages: int) -> None:
    made = Percpu()
    chunk = made.make(CHUNK, 1, 1)
    made.kernel.set(made.chunk, chunk, "nr_pages", pages)
    made.relink([chunk])
    found = made.read()
    assert (found.chunks.tolist(), found.whole, found.unreadable) == ([], False, 1)


def test_chunks_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(percpu, "_MAX_CHUNKS", 1)
    made = Percpu()
    made.map_chunk(0, (70, 71))
    made.relink([made.make(CHUNK, 1, 1)], [made.make(CHUNK, 1, 1)])
    assert not made.read().whole


def test_pages_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(percpu, "_MAX_PAGES", 4)
    found = Percpu().read()
    assert len(found.first) == 4
    assert not found.whole


def test_what_cannot_be_read_at_all() -> None:
    made = Percpu()
    made.kernel.variable("pcpu_unit_offsets", made.kernel.pointer(made.kernel.ulong), 8)
    assert (made.read().whole, made.read().unreadable) == (False, 1)


def test_a_kernel_without_such_chunks() -> None:
    kernel = Kernel()
    with pytest.raises(MissingStructureError, match="no known percpu chunks"):
        read_percpu(kernel.prog, PageTables(kernel.prog, {}, kernel.root))
