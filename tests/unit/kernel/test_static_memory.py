# SPDX-License-Identifier: GPL-2.0-only
"""Memory that variables refer to, in kernels made by hand."""

import itertools

import pytest
from kernel_by_hand import BASE, Kernel
from synthetic import MODERN, SIZE, VMEMMAP

from pageinspect.kernel import static_memory
from pageinspect.kernel.static_memory import read_static_memory
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.owner_memory import StaticMemory
from pageinspect.model.ranges import Range

PAGE = 4096
GONE = 0xFFFF8FFFFFFFF000
END = 0x8000
VMALLOC = 0xFFFFC90000000000


def kernel(**variables: int) -> Kernel:
    """Return a kernel with these variables of 8 bytes, which point to structs of 16 bytes."""
    made = Kernel()
    made.variable("page_offset_base", made.ulong, BASE)
    bucket = made.pointer(made.struct("bucket", first=made.ulong, second=made.ulong))
    for name, value in variables.items():
        is_number = value < BASE
        made.variable(name, made.ulong if is_number else bucket, value)
    return made


def read(made: Kernel) -> dict[str, Range]:
    found = read_static_memory(made.prog, MODERN, END)
    assert not found.unreadable
    return dict(found.parts)


def test_tables_have_the_size_of_their_mask_or_shift() -> None:
    found = read(
        kernel(
            dentry_hashtable=BASE + 0x100000,
            d_hash_shift=20,
            inode_hashtable=BASE + 0x200000,
            i_hash_mask=0x3FF,
            mount_hashtable=BASE + 0x300800,
            m_hash_mask=0xFF,
            token_hash=VMALLOC,
            token_mask=0xFFF,
        )
    )
    assert found == {
        "dentry hash table": (0x100, 0x100 + (16 << 12) // PAGE),
        "inode hash table": (0x200, 0x204),
        "mount hash table": (0x300, 0x302),
    }


def test_tables_of_the_network() -> None:
    made = kernel()
    bucket = made.pointer(made.struct("bucket", first=made.ulong, second=made.ulong))
    slot = made.pointer(made.struct("slot", first=made.ulong))
    info = {
        "ehash": slot,
        "ehash_mask": made.uint,
        "bhash": bucket,
        "bhash2": bucket,
        "bhash_size": made.uint,
        "lhash2": bucket,
        "lhash2_mask": made.uint,
    }
    type_ = made.struct("inet_hashinfo", **info)
    values = {
        "ehash": BASE + 0x100000,
        "ehash_mask": 0x7FF,
        "bhash": BASE + 0x200000,
        "bhash_size": 0x1000,
        "lhash2": BASE + 0x300000,
        "lhash2_mask": 0xFF,
    }
    made.variable("tcp_hashinfo", type_, at=made.make(type_, **values))
    table = made.struct("udp_table", hash=bucket, hash2=slot, hash4=slot, mask=made.uint)
    address = made.make(table, hash=BASE + 0x400000, mask=0x3FF)
    made.variable("udp_table", table, at=address)
    made.variable("ip_idents", made.pointer(made.uint), BASE + 0x500000)
    made.variable("ip_tstamps", made.pointer(made.uint), BASE + 0x501000)
    made.variable("ip_idents_mask", made.uint, 0x7FF)
    assert read(made) == {
        "TCP established hash table": (0x100, 0x104),
        "TCP bind hash table": (0x200, 0x220),
        "TCP listen hash table": (0x300, 0x301),
        "UDP hash table": (0x400, 0x408),
        "IP identities": (0x500, 0x504),
    }


def pools(*chunks: tuple[int, int]) -> tuple[Kernel, int]:
    """Return a kernel with a struct gen_pool that has these chunks, by first and last byte."""
    made = kernel()
    pool = made.struct("gen_pool", lock=made.ulong, chunks=made.list_head)
    chunk = made.struct(
        "gen_pool_chunk",
        avail=made.ulong,
        next_chunk=made.list_head,
        start_addr=made.ulong,
        end_addr=made.ulong,
    )
    of = made.make(pool)
    nodes = [made.make(chunk, start_addr=first, end_addr=last) + 8 for first, last in chunks]
    addresses = [of + 8, *nodes, of + 8]
    for node, following in itertools.pairwise(addresses):
        made.write(node, following.to_bytes(8, "little"))
    made.variable("atomic_pool_dma", made.pointer(pool), of)
    return made, of


def test_pools_for_dma() -> None:
    first, second = BASE + 0x100000, BASE + 0x200000
    made, _ = pools((first, first + 0x3FFFF), (VMALLOC, VMALLOC + PAGE - 1), (second, second))
    name = "atomic DMA pool (DMA)"
    found = read_static_memory(made.prog, MODERN, END)
    assert found.parts == ((name, (0x100, 0x140)), (name, (0x200, 0x201)))


def test_pools_in_a_structure_of_their_own() -> None:
    made, pool = pools((BASE + 0x100000, BASE + 0x100FFF))
    type_ = made.struct(
        "dma_gen_pool", shared=made.ulong, pool=made.pointer(made.prog.type("struct gen_pool"))
    )
    made.variable("atomic_pool_dma", made.ulong, at=made.make(type_, pool=pool))
    assert read(made) == {"atomic DMA pool (DMA)": (0x100, 0x101)}


@pytest.mark.parametrize("inner", [True, False])
def test_bounce_buffers_have_physical_addresses(inner: bool) -> None:
    made = kernel()
    pool = made.struct("io_tlb_pool", start=made.ulong, end=made.ulong)
    memory = made.struct("io_tlb_mem", defpool=pool) if inner else pool
    address = made.make(pool, start=0x100000, end=0x180000)
    made.variable("io_tlb_default_mem", memory, at=address)
    assert read(made) == {"swiotlb bounce buffers": (0x100, 0x180)}


def mempool(order: int, *pages: int, alloc: int = 0xFFFFFFFF81000000) -> Kernel:
    made = kernel()
    type_ = made.struct(
        "mempool",
        curr_nr=made.uint,
        elements=made.pointer(made.void_p),
        pool_data=made.ulong,
        alloc=made.ulong,
    )
    elements = made.words(*(VMEMMAP + page * SIZE for page in pages)) if pages else 0
    address = made.make(type_, curr_nr=len(pages), elements=elements, pool_data=order, alloc=alloc)
    made.variable("integrity_buf_pool", type_, at=address)
    made.symbols({"mempool_alloc_pages": (0xFFFFFFFF81000000, 16)})
    return made


def test_a_mempool_has_pages_of_an_order() -> None:
    found = read_static_memory(mempool(9, 0x1000, 0x1400).prog, MODERN, END).parts
    name = "mempool integrity_buf_pool"
    assert found == ((name, (0x1000, 0x1200)), (name, (0x1400, 0x1600)))
    assert read(mempool(9, 0x1000, alloc=5)) == {}


def test_a_mempool_of_an_order_that_cannot_be_is_counted() -> None:
    assert read_static_memory(mempool(1 << 63, 0x1000).prog, MODERN, END) == StaticMemory((), 1)


@pytest.mark.parametrize("name", ["huge_zero_folio", "huge_zero_page"])
def test_the_huge_zero_page(name: str) -> None:
    assert read(kernel(**{name: VMEMMAP + 0x400 * SIZE})) == {"huge zero page": (0x400, 0x600)}
    assert read(kernel(**{name: 0})) == {}


def test_vmcoreinfo_has_two_pages() -> None:
    found = read(kernel(vmcoreinfo_data=BASE + 0x5000, vmcoreinfo_note=BASE + 0x7000))
    assert found == {"vmcoreinfo": (5, 6), "vmcoreinfo note": (7, 8)}


def test_saved_command_lines_have_the_size_of_their_structure() -> None:
    made = kernel()
    type_ = made.struct("saved_cmdlines_buffer", map=made.array(made.uint, 1025))
    made.variable("savedcmd", made.pointer(type_), BASE + 0x5000)
    assert read(made) == {"saved command lines of tracing": (5, 7)}


def test_what_cannot_be_read_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    made = kernel(vmcoreinfo_data=BASE + 0x5000)
    made.variable("inode_hashtable", made.pointer(made.ulong), at=GONE)
    made.variable("i_hash_mask", made.uint, 0xFF)
    found = read_static_memory(made.prog, MODERN, END)
    assert found == StaticMemory((("vmcoreinfo", (5, 6)),), 1)
    monkeypatch.setattr(static_memory, "_MAX_BYTES", 0xFFF)
    made = kernel(vmcoreinfo_data=BASE + 0x5000)
    assert read_static_memory(made.prog, MODERN, END) == StaticMemory((), 1)


def test_a_kernel_without_such_variables() -> None:
    with pytest.raises(MissingStructureError, match="direct map"):
        read_static_memory(Kernel().prog, MODERN, END)
    with pytest.raises(MissingStructureError, match="tables of boot"):
        read_static_memory(kernel().prog, MODERN, END)
