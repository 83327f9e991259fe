# SPDX-License-Identifier: GPL-2.0-only
"""Finds memory that the kernel allocated for itself once, and that one of its variables refers to.

Such as hash tables of a size by memory, pools for atomic DMA, static mempools, the huge zero page.
"""

import contextlib
from collections.abc import Callable, Iterator

from drgn import FaultError, Object, Program, sizeof

from ..model.arch import PAGE_SHIFT, PAGE_SIZE
from ..model.layout import PageLayout
from ..model.owner_memory import NamedRange, StaticMemory
from .page_owners import page_offset_base
from .structures import ListWalk, add_offset, require_structure

_MAX_BYTES = 1 << 36
_MAX_CHUNKS = 1 << 10
_MAX_ELEMENTS = 1 << 12
_MAX_ORDER = 10
_HUGE_PAGES = 512

Extent = tuple[int, int]
"""Address in the direct map and size in bytes."""
Find = Callable[["_Reader"], Iterator[Extent]]


def read_static_memory(prog: Program, layout: PageLayout, end: int) -> StaticMemory:
    """Read all such memory in the direct map; raises MissingStructureError if none is known.

    `end` is one after the last pfn. Memory in vmalloc areas, which are after the direct map, is
    left out, as hash tables with hashdist=1 are.
    """
    with require_structure("direct map"):
        try:
            direct = page_offset_base(prog)
        except FaultError:
            return StaticMemory(unreadable=1)
    reader = _Reader(prog, layout, direct, end)
    known = 0
    for name, find in _FOUND:
        try:
            for extent in find(reader):
                reader.add(name, extent)
        except (LookupError, AttributeError):
            continue
        except FaultError:
            reader.unreadable += 1
        known += 1
    with require_structure("tables of boot"):
        if not known:
            raise LookupError("dentry_hashtable")
    return StaticMemory(tuple(reader.found), reader.unreadable)


class _Reader:
    def __init__(self, prog: Program, layout: PageLayout, direct: int, end: int) -> None:
        self.prog = prog
        self._end = end
        self._layout = layout
        self.direct = direct
        self.found: list[NamedRange] = []
        self.unreadable = 0

    def add(self, name: str, extent: Extent) -> None:
        """Add the pages of an extent, if it is in the direct map.

        memblock may give memory that does not start at a page.
        """
        address, size = extent
        offset = address - self.direct
        if not 0 <= offset < self._end * PAGE_SIZE:
            return
        if not 0 < size <= _MAX_BYTES:
            self.unreadable += 1
            return
        self.found.append((name, (offset >> PAGE_SHIFT, -(-(offset + size) >> PAGE_SHIFT))))

    def of_page(self, page: int) -> int:
        """Return the address of the page with this struct page."""
        pfn, rest = divmod(page - self._layout.vmemmap, self._layout.struct_size)
        sound = not rest and 0 <= pfn < self._end
        return self.direct + pfn * PAGE_SIZE if sound else 0


def _table(pointer: Object, number: int) -> Iterator[Extent]:
    """Yield the extent of a table with this number of elements."""
    yield pointer.value_(), number * sizeof(pointer.type_.type)


def _masked(pointer: str, mask: str) -> Find:
    """Return the finder of a table in a variable, with its largest index in another one."""
    return lambda reader: _table(reader.prog[pointer], reader.prog[mask].value_() + 1)


def _dentries(reader: _Reader) -> Iterator[Extent]:
    bits = 32 - reader.prog["d_hash_shift"].value_()
    return _table(reader.prog["dentry_hashtable"], 1 << bits if 0 <= bits <= 32 else 0)


def _established(reader: _Reader) -> Iterator[Extent]:
    info = reader.prog["tcp_hashinfo"]
    return _table(info.ehash, info.ehash_mask.value_() + 1)


def _bound(reader: _Reader) -> Iterator[Extent]:
    """Yield the table of bound ports; bhash2 is its second half.

    Since Linux kernel commit 28044fc1d495 ("net: Add a bhash2 table hashed by port and address")
    (in v6.1), it has two halves.
    """
    info = reader.prog["tcp_hashinfo"]
    halves = 2 if hasattr(info, "bhash2") else 1
    return _table(info.bhash, halves * info.bhash_size.value_())


def _listening(reader: _Reader) -> Iterator[Extent]:
    info = reader.prog["tcp_hashinfo"]
    return _table(info.lhash2, info.lhash2_mask.value_() + 1)


def _udp(variable: str) -> Find:
    def find(reader: _Reader) -> Iterator[Extent]:
        table = reader.prog[variable]
        slots = [getattr(table, n) for n in ("hash", "hash2", "hash4") if hasattr(table, n)]
        each = sum(sizeof(slot.type_.type) for slot in slots)
        yield table.hash.value_(), (table.mask.value_() + 1) * each

    return find


def _ip_identities(reader: _Reader) -> Iterator[Extent]:
    """Yield the table of IP identities, which has their time stamps in the second part."""
    idents, stamps = reader.prog["ip_idents"], reader.prog["ip_tstamps"]
    each = sizeof(idents.type_.type) + sizeof(stamps.type_.type)
    yield idents.value_(), (reader.prog["ip_idents_mask"].value_() + 1) * each


def _dma_pool(variable: str) -> Find:
    """Return the finder of the memory of a struct gen_pool.

    In kernels with struct dma_gen_pool, the variable is one, and refers to the pool.
    """

    def find(reader: _Reader) -> Iterator[Extent]:
        pool = reader.prog[variable]
        with contextlib.suppress(LookupError):
            pool = Object(reader.prog, "struct dma_gen_pool", address=pool.address_).pool
        if not pool.value_():
            return
        chunk = reader.prog.type("struct gen_pool_chunk")
        link = int(chunk.member("next_chunk").bit_offset) // 8
        walk = ListWalk(reader.prog, _MAX_CHUNKS)
        for node in walk.nodes(pool.chunks.address_):
            found = Object(reader.prog, chunk, address=add_offset(node, -link))
            start, last = found.start_addr.value_(), found.end_addr.value_()
            yield start, last + 1 - start
        reader.unreadable += not walk.whole

    return find


def _mempool(variable: str) -> Find:
    """Return the finder of the elements of a static mempool of pages."""

    def find(reader: _Reader) -> Iterator[Extent]:
        pool = reader.prog[variable]
        if pool.alloc.value_() != reader.prog.symbol("mempool_alloc_pages").address:
            return
        order, number = pool.pool_data.value_(), pool.curr_nr.value_()
        if not 0 <= number <= _MAX_ELEMENTS or order > _MAX_ORDER:
            reader.unreadable += 1
            return
        for i in range(number):
            yield reader.of_page(pool.elements[i].value_()), PAGE_SIZE << order

    return find


def _bounce_buffers(reader: _Reader) -> Iterator[Extent]:
    """Yield the memory of swiotlb.

    Since Linux kernel commit 158dbe9c9a3d ("swiotlb: separate memory pool data from other allocator
    data") (in v6.6), it is in a structure of its own.
    """
    memory = reader.prog["io_tlb_default_mem"]
    pool = memory.defpool if hasattr(memory, "defpool") else memory
    start, end = pool.start.value_(), pool.end.value_()
    if end > start:
        yield reader.direct + start, end - start


def _structure(variable: str) -> Find:
    """Return the finder of the structure that a variable points to."""
    return lambda reader: _table(reader.prog[variable], 1)


def _page(variable: str) -> Find:
    """Return the finder of a page at the address in a variable."""

    def find(reader: _Reader) -> Iterator[Extent]:
        yield reader.prog[variable].value_(), PAGE_SIZE

    return find


def _huge_zero_page(reader: _Reader) -> Iterator[Extent]:
    """Yield the page that untouched huge pages map.

    Since Linux kernel commit 5691753d73a2 ("mm: convert huge_zero_page to huge_zero_folio")
    (in v6.10), the variable has another name.
    """
    try:
        page = reader.prog["huge_zero_folio"].value_()
    except LookupError:
        page = reader.prog["huge_zero_page"].value_()
    yield reader.of_page(page), _HUGE_PAGES * PAGE_SIZE


_FOUND: tuple[tuple[str, Find], ...] = (
    ("dentry hash table", _dentries),
    ("inode hash table", _masked("inode_hashtable", "i_hash_mask")),
    ("mount hash table", _masked("mount_hashtable", "m_hash_mask")),
    ("mountpoint hash table", _masked("mountpoint_hashtable", "mp_hash_mask")),
    ("TCP established hash table", _established),
    ("TCP bind hash table", _bound),
    ("TCP listen hash table", _listening),
    ("UDP hash table", _udp("udp_table")),
    ("UDP-Lite hash table", _udp("udplite_table")),
    ("IP identities", _ip_identities),
    ("MPTCP token hash table", _masked("token_hash", "token_mask")),
    ("atomic DMA pool", _dma_pool("atomic_pool_kernel")),
    ("atomic DMA pool (DMA32)", _dma_pool("atomic_pool_dma32")),
    ("atomic DMA pool (DMA)", _dma_pool("atomic_pool_dma")),
    ("mempool integrity_buf_pool", _mempool("integrity_buf_pool")),
    ("huge zero page", _huge_zero_page),
    ("swiotlb bounce buffers", _bounce_buffers),
    ("saved command lines of tracing", _structure("savedcmd")),
    ("vmcoreinfo", _page("vmcoreinfo_data")),
    ("vmcoreinfo note", _page("vmcoreinfo_note")),
)
