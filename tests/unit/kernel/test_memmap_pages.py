# SPDX-License-Identifier: GPL-2.0-only
"""The pages that hold struct pages, read from page tables made by hand."""

from dataclasses import replace

import numpy as np
from kernel_by_hand import BASE, Kernel
from synthetic import MODERN, VMEMMAP

from pageinspect.kernel.memmap_pages import read_memmap_pages
from pageinspect.model.allocations import PageExt
from pageinspect.model.kernel_memory import MemmapPages
from pageinspect.model.layout import PageLayout
from pageinspect.model.ranges import Range
from pageinspect.target.page_tables import PageTables

SECTION = 1 << 15
LARGE = 2 << 20
OPTIMIZED = 8
"""Virtual pages that hold the struct pages of one huge page of 2 MiB."""


def read(kernel: Kernel, *spanned: Range, layout: PageLayout = MODERN) -> MemmapPages:
    return read_memmap_pages(PageTables(kernel.prog, {}, kernel.root), layout, spanned)


def test_a_section_is_mapped_as_a_whole() -> None:
    kernel = Kernel()
    kernel.map(VMEMMAP, 0x40000000, large=True)
    kernel.map(VMEMMAP + LARGE, 0x80000000, large=True)
    assert read(kernel, (20_000, 20_001), (30_000, SECTION - 5)).ranges == ((0x40000, 0x40200),)
    found = read(kernel, (0, SECTION + 1))
    assert found.ranges == ((0x40000, 0x40200), (0x80000, 0x80200))
    assert (found.pages, found.whole, found.unreadable) == (1024, True, 0)


def test_a_page_that_struct_pages_share_is_listed_once() -> None:
    kernel = Kernel()
    for page in range(512):
        # Of each huge page the first virtual page is kept, and the others are the same page.
        pfn = 0x500 if page % OPTIMIZED else 0x600 + page // OPTIMIZED
        kernel.map(VMEMMAP + page * 4096, pfn * 4096)
    found = read(kernel, (0, SECTION))
    assert found.ranges == ((0x500, 0x501), (0x600, 0x600 + 512 // OPTIMIZED))
    assert found.pages == 1 + 512 // OPTIMIZED


def test_what_is_not_mapped_is_no_error() -> None:
    kernel = Kernel()
    kernel.map(VMEMMAP + 5 * LARGE + 3 * 4096, 0x700000)
    found = read(kernel, (0, 1 << 25))
    assert found == MemmapPages(((0x700, 0x701),))


def test_struct_pages_of_another_size() -> None:
    kernel = Kernel()
    kernel.map(VMEMMAP, 0x40000000, large=True)
    kernel.map(VMEMMAP + LARGE, 0x80000000, large=True)
    found = read(kernel, (0, 1), layout=replace(MODERN, struct_size=80))
    assert found.ranges == ((0x40000, 0x40200), (0x80000, 0x80080))


def test_page_tables_that_cannot_be_read_are_counted() -> None:
    kernel = Kernel()
    kernel.map(VMEMMAP, 0x40000000, large=True)
    kernel.map(VMEMMAP + LARGE, 0x80000000)
    tables = PageTables(kernel.prog, {}, kernel.root)
    table = kernel.root
    for shift in (39, 30):
        entry = kernel.prog.read_u64(BASE + table + (VMEMMAP + LARGE >> shift & 511) * 8)
        table = entry & ~0xFFF
    at = BASE + table + (VMEMMAP + LARGE >> 21 & 511) * 8
    kernel.write(at, (0x7FFFF000 | 1).to_bytes(8, "little"))
    found = read_memmap_pages(tables, MODERN, [(0, 2 * SECTION)])
    assert found == MemmapPages(((0x40000, 0x40200),), whole=False, unreadable=512)


def test_records_beside_struct_pages() -> None:
    """They begin in the middle of a large page, and are not wholly mapped."""
    kernel = Kernel()
    size, first, start = 64, 3 * SECTION, VMEMMAP + LARGE + 0x5010
    kernel.map(VMEMMAP + LARGE, 0x40000000, large=True)
    kernel.map(VMEMMAP + 2 * LARGE, 0x90000000)
    kernel.map(VMEMMAP + 2 * LARGE + 0x5000, 0xA0000000)
    kernel.map(VMEMMAP + 2 * LARGE + 0x6000, 0xB0000000)
    ext = PageExt(
        np.dtype([("flags", "<u8"), ("rest", "V56")]),
        np.array([0, first], np.int64),
        np.array([0, start - size * first], np.uint64),
    )
    tables = PageTables(kernel.prog, {}, kernel.root)
    found = read_memmap_pages(tables, MODERN, [], ext)
    assert found.ranges == ()
    assert found.extensions == ((0x40005, 0x40200), (0x90000, 0x90001), (0xA0000, 0xA0001))
    assert (found.pages, found.whole) == (0, True)
