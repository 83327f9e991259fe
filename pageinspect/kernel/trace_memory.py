# SPDX-License-Identifier: GPL-2.0-only
"""Finds the memory of tracing: ring buffers, and the records of traceable functions."""

from collections.abc import Iterator

from drgn import FaultError, Object, Program, TypeKind, offsetof
from drgn.helpers.linux.cpumask import for_each_possible_cpu

from ..model.arch import PAGE_SHIFT
from ..model.owner_memory import NamedRange, TraceMemory
from .members import Members
from .page_owners import page_offset_base
from .structures import ListWalk, add_offset, read_string, require_structure

_MAX_ARRAYS = 1 << 10
_MAX_PAGES = 1 << 22
"""Maximum number of pages of all ring buffers: 16 GiB."""
_MAX_RECORDS = 1 << 16
_MAX_ORDER = 10
_LONGEST_NAME = 128
_LINK_FLAGS = 3
"""Low bits of a link to the next page of a ring buffer, which are not part of the address."""
RECORDS = "records of functions"


def read_trace_memory(prog: Program, end: int) -> TraceMemory:
    """Read the pages of all ring buffers and of the records; raises MissingStructureError.

    `end` is one after the last pfn. Ring buffers in memory that is mapped elsewhere are left out.
    """
    with require_structure("ring buffers of tracing"):
        reader = _Reader(prog, end)
        arrays = prog["ftrace_trace_arrays"].address_
    walk = ListWalk(prog, _MAX_ARRAYS)
    for node in walk.nodes(arrays):
        reader.add_array(node)
    reader.add_records()
    return TraceMemory(tuple(reader.found), walk.whole and reader.whole, reader.unreadable)


class _Reader:
    def __init__(self, prog: Program, end: int) -> None:
        self._prog = prog
        self._end = end
        self._direct = page_offset_base(prog)
        self._array = prog.type("struct trace_array")
        self._buffer = prog.type("struct trace_buffer")
        self._of_cpu = prog.type("struct ring_buffer_per_cpu")
        self._page = Members(prog, "struct buffer_page", "list", "page", optional=("order",))
        self._buffers = [
            name
            for name in ("array_buffer", "snapshot_buffer", "max_buffer")
            if self._array.has_member(name)
        ]
        if not self._buffers:
            raise LookupError("struct trace_array has no array_buffer")
        self._left = _MAX_PAGES
        self.found: list[NamedRange] = []
        self.whole = True
        self.unreadable = 0

    def add_array(self, node: int) -> None:
        """Add the ring buffers of a struct trace_array, by its node in the list of all."""
        link = int(offsetof(self._array, "list"))
        array = Object(self._prog, self._array, address=add_offset(node, -link))
        try:
            name = self._name(array.name.value_())
            buffers = [getattr(array, name).buffer.value_() for name in self._buffers]
        except FaultError:
            self.unreadable += 1
            return
        for buffer in buffers:
            if buffer:
                self._add_buffer(f"ring buffer {name}", buffer)

    def _name(self, address: int) -> str:
        """Return the name of a trace array; the first one, which the kernel makes, has none."""
        return read_string(self._prog, address, _LONGEST_NAME) if address else "(global)"

    def _add_buffer(self, name: str, address: int) -> None:
        buffer = Object(self._prog, self._buffer, address=address)
        for cpu in for_each_possible_cpu(self._prog):
            try:
                of_cpu = buffer.buffers[cpu].value_()
                if of_cpu:
                    self._add_cpu(name, Object(self._prog, self._of_cpu, address=of_cpu))
            except FaultError:
                self.unreadable += 1

    def _add_cpu(self, name: str, buffer: Object) -> None:
        """Add the pages in the ring of a CPU's buffer, and those outside of it. Raises FaultError.

        The page that a reader has is not in the ring, and so are a spare page and the page that
        describes the buffer to a process that maps it.
        """
        first, reader = buffer.pages.value_(), buffer.reader_page.value_()
        link = self._page.at["list"]
        if reader:
            self._add_page(name, reader)
        for spare in _spare_pages(buffer):
            self._add(name, spare, 0)
        seen: set[int] = set()
        node = first
        while node and node not in seen:
            if not self._left:
                self.whole = False
                return
            seen.add(node)
            following = self._add_page(name, node - link)
            node = following & ~_LINK_FLAGS
        if node != first:
            self.whole = False

    def _add_page(self, name: str, address: int) -> int:
        """Add the page of a struct buffer_page, and return its link to the next one."""
        data = self._page.read(address)
        order = self._page.of(data, "order") if "order" in self._page else 0
        self._add(name, self._page.of(data, "page"), order)
        return self._page.of(data, "list")

    def add_records(self) -> None:
        """Add the records of the functions that can be traced, if this kernel has them."""
        try:
            page, type_ = self._prog["ftrace_pages_start"], self._prog.type("struct ftrace_page")
        except LookupError:
            return
        seen: set[int] = set()
        try:
            address = page.value_()
            while address:
                if address in seen or len(seen) == _MAX_RECORDS:
                    self.whole = False
                    return
                seen.add(address)
                found = Object(self._prog, type_, address=address).read_()
                self._add(RECORDS, found.records.value_(), found.order.value_())
                address = found.next.value_()
        except FaultError:
            self.whole = False
            self.unreadable += 1

    def _add(self, name: str, address: int, order: int) -> None:
        """Add the pages of an allocation, if it is in the direct map."""
        start = (address - self._direct) >> PAGE_SHIFT
        if not 0 <= start < self._end:
            return
        if not 0 <= order <= _MAX_ORDER or not self._left:
            self.unreadable += 1
            return
        self._left -= 1
        self.found.append((name, (start, start + (1 << order))))


def _spare_pages(buffer: Object) -> Iterator[int]:
    """Yield the addresses of pages of a CPU's buffer that no struct buffer_page refers to.

    free_page is a pointer in older kernels, and a structure in newer ones.
    """
    if hasattr(buffer, "free_page"):
        free = buffer.free_page
        yield (free.data if free.type_.kind == TypeKind.STRUCT else free).value_()
    if hasattr(buffer, "meta_page"):
        yield buffer.meta_page.value_()
