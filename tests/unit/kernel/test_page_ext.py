# SPDX-License-Identifier: GPL-2.0-only
"""Records of who allocated pages, in memory made by hand."""

import numpy as np
import pytest
from allocations_by_hand import ALLOCATED, RECORD, SECTION, TAG_AT, Allocations
from kernel_by_hand import BASE, Kernel

from pageinspect.kernel.page_ext import read_allocation, read_page_ext, read_sites
from pageinspect.kernel.structures import MissingStructureError
from pageinspect.model.allocations import ALLOCATED_AT, PageAllocation, PageExt

TAG = 0xFFFFFFFF82001000


def extension(made: Allocations) -> PageExt:
    found = read_page_ext(made.kernel.prog)
    assert found is not None
    return found


def sites(made: Allocations, *pfns: int, flags: int = 0) -> list[int]:
    words = np.full(len(pfns), flags, np.uint64)
    found: list[int] = read_sites(
        made.kernel.prog, extension(made), np.array(pfns, np.int64), words
    ).tolist()
    return found


def test_the_stack_of_each_page_by_page_owner() -> None:
    made = Allocations(tags=False)
    made.record(100, handle=0x20001)
    made.record(101, handle=0x20002, flags=0)
    made.record(103, handle=0xFFFFFFFF)
    expected = [ALLOCATED_AT | handle for handle in (0xFFFFFFFF, 0x20001, 0x20001)]
    assert sites(made, 103, 100, 100, 101) == [*expected, 0]


def test_stacks_that_stand_for_others_are_not_those_of_pages() -> None:
    made = Allocations(tags=False)
    for pfn, handle in enumerate((0, 1, 2, 3, 4), 100):
        made.record(pfn, handle=handle)
    assert sites(made, *range(100, 105)) == [0, 0, 0, 0, ALLOCATED_AT | 4]


def test_a_tag_is_preferred_to_a_stack() -> None:
    made = Allocations()
    made.record(100, handle=9, tag=TAG)
    made.record(101, handle=9)
    made.record(102, handle=9, tag=0x1234)
    assert sites(made, 100, 101, 102) == [TAG, ALLOCATED_AT | 9, ALLOCATED_AT | 9]


def test_tags_alone_have_no_flags_before_them() -> None:
    made = Allocations(owners=False, tags=False)
    made.client("page_alloc_tagging_ops", 0)
    made.kernel.write(made.records, TAG.to_bytes(8, "little"))
    assert sites(made, 100, 101) == [TAG, 0]
    assert read_allocation(made.kernel.prog, extension(made), 100) is None


def test_tags_that_this_boot_does_not_keep() -> None:
    made = Allocations(tags=False)
    made.client("page_alloc_tagging_ops", 0)
    made.record(100, flags=ALLOCATED | 1 << 63, handle=9)
    assert sites(made, 100) == [ALLOCATED_AT | 9]


def test_numbers_of_tags_in_flags() -> None:
    made = Allocations(tags=False)
    kernel = made.kernel
    key = kernel.struct("atomic", counter=kernel.uint)
    key = kernel.struct("static_key", enabled=key)
    key = kernel.struct("static_key_false", key=key)
    kernel.variable("mem_profiling_compressed", key, 1)
    kernel.struct("alloc_tag", of=kernel.array(kernel.ulong, 5))
    section = kernel.struct("alloc_tag_kernel_section", first_tag=kernel.void_p, count=kernel.ulong)
    kernel.variable("kernel_tags", section, TAG | 10 << 64)
    section = kernel.struct(
        "alloc_tag_module_section", start_addr=kernel.ulong, end=kernel.ulong, size=kernel.ulong
    )
    of_modules = 0xFFFFFFFFC0000000
    kernel.variable("module_tags", section, of_modules | 80 << 128)
    kernel.variable("alloc_tag_ref_offs", kernel.uint, 48)
    kernel.variable("alloc_tag_ref_mask", kernel.ulong, 0x3FFF)
    made.record(100, handle=9)
    found = [sites(made, 100, flags=n << 48 | 0xFFFF)[0] for n in (0, 1, 2, 11, 12, 13, 14)]
    stack = ALLOCATED_AT | 9
    assert found == [stack, stack, TAG, TAG + 9 * 40, of_modules, of_modules + 40, stack]


def test_an_allocation() -> None:
    made = Allocations()
    made.record(105, handle=9, gfp_mask=0xCC0, order=3, pid=42, comm=b"sh\0old")
    found = read_allocation(made.kernel.prog, extension(made), 105)
    assert found == PageAllocation(9, 3, 0xCC0, 42, "sh")
    assert read_allocation(made.kernel.prog, extension(made), 106) is None
    made = Allocations(comm=False)
    made.record(105, handle=9, comm=b"left")
    found = read_allocation(made.kernel.prog, extension(made), 105)
    assert found == PageAllocation(9, 0, 0, 0, "")


def test_pages_without_records() -> None:
    made = Allocations()
    # It would look allocated as well if it were read one byte later, as an invalid base leads to.
    made.record(100, flags=ALLOCATED * 0x101, handle=0x901)
    invalid, beyond, unreadable = SECTION + 100, 3 * SECTION + 100, SECTION - 1
    assert sites(made, 100, beyond, invalid, unreadable) == [ALLOCATED_AT | 0x901, 0, 0, 0]
    assert sites(made) == []


@pytest.mark.parametrize("size", [0, TAG_AT, 1 << 13])
def test_a_size_that_records_cannot_have(size: int) -> None:
    made = Allocations()
    made.kernel.variable("page_ext_size", made.kernel.ulong, size)
    found = read_page_ext(made.kernel.prog)
    assert found is None or not found.has("tag")


def test_kernels_that_keep_no_allocations() -> None:
    assert read_page_ext(Allocations(owners=False, tags=False).kernel.prog) is None
    kernel = Kernel()
    kernel.struct("mem_section", section_mem_map=kernel.ulong, usage=kernel.void_p)
    assert read_page_ext(kernel.prog) is None


def test_a_kernel_that_keeps_them_otherwise() -> None:
    made = Allocations()
    made.kernel.struct("page_owner", handle=made.kernel.uint)
    with pytest.raises(MissingStructureError, match="page_ext"):
        read_page_ext(made.kernel.prog)


def test_damaged_sections() -> None:
    made = Allocations()
    made.kernel.variable("mem_section", made.kernel.ulong, BASE + (1 << 40))
    assert read_page_ext(made.kernel.prog) is None
    assert RECORD > TAG_AT
