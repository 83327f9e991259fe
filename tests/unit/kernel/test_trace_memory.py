# SPDX-License-Identifier: GPL-2.0-only
"""The memory of tracing, read from ring buffers made by hand."""

from dataclasses import dataclass, field

import pytest
from drgn import offsetof
from kernel_by_hand import BASE, Kernel

from pageinspect.kernel import trace_memory
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.kernel.trace_memory import read_trace_memory
from pageinspect.model.owner_memory import TraceMemory

GONE = 0xFFFF8FFFFFFFF000
GLOBAL = "ring buffer (global)"
HEAD = 1
"""The flag in the link to the first page of a ring."""


@dataclass
class Tracing:
    """Trace arrays with ring buffers of two CPUs; pages are given as pfns."""

    modern: bool = True
    kernel: Kernel = field(default_factory=Kernel)

    def __post_init__(self) -> None:
        k = self.kernel
        k.variable("page_offset_base", k.ulong, BASE)
        order = {"order": k.uint} if self.modern else {}
        self.page = k.struct("buffer_page", write=k.ulong, list=k.list_head, **order, page=k.void_p)
        spare = k.struct("buffer_data_read_page", order=k.ulong, data=k.void_p)
        self.of_cpu = k.struct(
            "ring_buffer_per_cpu",
            cpu=k.ulong,
            pages=k.void_p,
            reader_page=k.void_p,
            free_page=spare if self.modern else k.void_p,
            **({"meta_page": k.void_p} if self.modern else {}),
        )
        pointers = k.pointer(k.pointer(self.of_cpu))
        self.buffer = k.struct("trace_buffer", flags=k.ulong, buffers=pointers)
        kept = k.struct("array_buffer", tr=k.void_p, buffer=k.pointer(self.buffer))
        other = "snapshot_buffer" if self.modern else "max_buffer"
        self.array = k.struct(
            "trace_array",
            list=k.list_head,
            name=k.pointer(k.char),
            array_buffer=kept,
            **{other: kept},
        )
        self.arrays = k.variable("ftrace_trace_arrays", k.list_head)

    def make_page(self, pfn: int, order: int = 0) -> int:
        values = {"order": order} if order else {}
        return self.kernel.make(self.page, page=BASE + pfn * 4096, **values)

    def make_ring(self, *pfns: int, reader: int = 0, **values: int) -> int:
        k = self.kernel
        link = offsetof(self.page, "list")
        pages = [self.make_page(pfn) + link for pfn in pfns]
        for i, page in enumerate(pages):
            following = pages[(i + 1) % len(pages)]
            k.write(page, (following | (HEAD if i == 0 else 0)).to_bytes(8, "little"))
        more = {"reader_page": self.make_page(reader)} if reader else {}
        return k.make(self.of_cpu, pages=pages[0] if pages else 0, **more, **values)

    def make_array(self, *rings: int, name: int = 0, other: str = "") -> int:
        buffer = self.kernel.make(self.buffer, buffers=self.kernel.words(*rings))
        member = f"{other or 'array_buffer'}__buffer"
        return self.kernel.make(self.array, name=name, **{member: buffer})

    def read(self, *arrays: int) -> TraceMemory:
        self.kernel.ring(self.array, *arrays, head=self.arrays)
        return read_trace_memory(self.kernel.prog, 0x8000)


@pytest.fixture(autouse=True)
def _two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_memory, "for_each_possible_cpu", lambda _prog: iter((0, 1)))


def pfns(found: TraceMemory) -> list[tuple[str, int, int]]:
    return sorted((name, start, end) for name, (start, end) in found.parts)


def test_rings_of_all_arrays_and_cpus() -> None:
    made = Tracing()
    name = made.kernel.text("mine")
    first = made.make_array(made.make_ring(5, 6, 7, reader=9), made.make_ring(20))
    second = made.make_array(made.make_ring(30, 31), 0, name=name, other="snapshot_buffer")
    found = made.read(first, second)
    expected = [(GLOBAL, pfn, pfn + 1) for pfn in (5, 6, 7, 9, 20)]
    assert pfns(found) == [*expected, ("ring buffer mine", 30, 31), ("ring buffer mine", 31, 32)]
    assert (found.whole, found.unreadable) == (True, 0)


def test_pages_outside_of_the_ring() -> None:
    made = Tracing()
    ring = made.make_ring(5, free_page__data=BASE + 7 * 4096, meta_page=BASE + 9 * 4096)
    assert pfns(made.read(made.make_array(ring, 0))) == [(GLOBAL, n, n + 1) for n in (5, 7, 9)]


def test_older_kernels() -> None:
    made = Tracing(modern=False)
    array = made.make_array(made.make_ring(5, free_page=BASE + 7 * 4096), 0, other="max_buffer")
    assert pfns(made.read(array)) == [(GLOBAL, 5, 6), (GLOBAL, 7, 8)]


def test_pages_have_an_order() -> None:
    made = Tracing()
    ring = made.make_ring()
    page = made.make_page(16, order=2)
    made.kernel.set(made.of_cpu, ring, "reader_page", page)
    assert pfns(made.read(made.make_array(ring, 0))) == [(GLOBAL, 16, 20)]
    made.kernel.set(made.page, page, "order", 40)
    assert made.read(made.make_array(ring, 0)).unreadable == 1


def test_rings_that_lead_astray_are_not_whole() -> None:
    made = Tracing()
    ring = made.make_ring(5, 6)
    link = made.kernel.prog.read_u64(ring + 8)
    second = made.kernel.prog.read_u64(link) & ~3
    made.kernel.write(second, second.to_bytes(8, "little"))
    array = made.make_array(ring, 0)
    found = made.read(array)
    assert (len(found.parts), found.whole, found.unreadable) == (2, False, 0)
    made.kernel.write(second, GONE.to_bytes(8, "little"))
    found = made.read(array)
    assert (len(found.parts), found.unreadable) == (2, 1)


def test_pages_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_memory, "_MAX_PAGES", 2)
    made = Tracing()
    found = made.read(made.make_array(made.make_ring(5, 6, 7), 0))
    assert (len(found.parts), found.whole) == (2, False)


def test_records_of_functions() -> None:
    made = Tracing()
    k = made.kernel
    pointer = k.pointer(k.struct("dyn_ftrace", ip=k.ulong))
    type_ = k.struct("ftrace_page", next=k.void_p, records=pointer, index=k.uint, order=k.uint)
    last = k.make(type_, records=BASE + 0x30000)
    first = k.make(type_, next=last, records=BASE + 0x20000, order=3)
    k.variable("ftrace_pages_start", k.pointer(type_), first)
    name = "records of functions"
    assert pfns(made.read()) == [(name, 0x20, 0x28), (name, 0x30, 0x31)]
    k.set(type_, last, "next", first)
    assert (len(made.read().parts), made.read().whole) == (2, False)
    k.set(type_, last, "next", GONE)
    assert (made.read().whole, made.read().unreadable) == (False, 1)


def test_what_cannot_be_read_is_counted() -> None:
    made = Tracing()
    found = made.read(made.make_array(GONE, made.make_ring(5)))
    assert (pfns(found), found.unreadable) == ([(GLOBAL, 5, 6)], 1)


def test_a_kernel_without_tracing() -> None:
    with pytest.raises(MissingStructureError, match="ring buffers of tracing"):
        read_trace_memory(Kernel().prog, 0x8000)
