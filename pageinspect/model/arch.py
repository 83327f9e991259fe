# SPDX-License-Identifier: GPL-2.0-only
"""Constants of the architecture, x86_64. Support for another one begins here.

Sources in arch/x86: include/asm/page_types.h and pgtable_64_types.h for pages and page tables,
include/asm/sparsemem.h for sections, entry/syscalls/syscall_64.tbl for system calls.
"""

NAME = "x86_64"
ELF_MACHINE = 62
"""EM_X86_64."""

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT

MOST_PFNS = 1 << 40
"""No pfn is at or above this: physical addresses have at most 52 bits."""
SECTION_PFNS = 1 << 15
"""pfns per memory section (2 MiB of vmemmap). A free block never crosses a section boundary."""
SUBSECTION_PFNS = 1 << 9
"""pfns per subsection, the unit of device memory hotplug."""
PAGEBLOCK_PFNS = 1 << 9
"""pfns per pageblock, and per PMD-sized huge page."""

MAX_ORDER = 10
"""The largest order of a free block: MAX_PAGE_ORDER of every supported kernel."""
GIGANTIC_ORDER = 18
"""The order of the largest huge page, 1 GiB."""

ADDRESSES_OF_KERNEL = 1 << 63
"""All kernel addresses, and no user address, physical address or pfn, are at or above this."""
KERNEL_HALF = {4: 0xFFFF800000000000, 5: 0xFF00000000000000}
"""The lowest kernel address, by the number of page table levels."""
IMAGE_START = 0xFFFFFFFF80000000
"""Virtual address of the kernel image mapping; its first byte is at physical address phys_base."""
IMAGE_SIZE = 1 << 30
"""KASLR moves the kernel image by less than this many bytes."""
COMPOUND_MASKS = 0xFFFFFF0000000000
"""compound_info of a tail is a mask from this value up: no struct page has such an address."""

TABLE_ENTRIES = 512
"""Entries per page table, 8 bytes each."""
LARGE_PAGE_SIZE = 2 << 20
"""Bytes that one PMD entry maps."""
KASLR_STEP = 2 << 20
"""KASLR moves the kernel image by multiples of this many bytes."""

LEVELS = {
    4: {"pgd": 39, "pud": 30, "pmd": 21, "pte": PAGE_SHIFT},
    5: {"pgd": 48, "p4d": 39, "pud": 30, "pmd": 21, "pte": PAGE_SHIFT},
}
"""log2 of the bytes that one entry of each level covers, by the number of page table levels."""
ENTRY_PRESENT = 1 << 0
ENTRY_ACCESSED, ENTRY_DIRTY = 1 << 5, 1 << 6
ENTRY_HUGE = 1 << 7
"""_PAGE_PSE: the entry of an upper level maps a huge page."""
ENTRY_PROTNONE, ENTRY_SPECIAL = 1 << 8, 1 << 9
ENTRY_ADDRESS = 0x000FFFFFFFFFF000
"""Address bits of an entry. Memory encryption takes one of them."""
SWAP_TYPE_SHIFT, SWAP_TYPE_BITS, SWAP_OFFSET_SHIFT = 59, 5, 14
"""The type of a swap entry is in its upper bits, its inverted offset is below."""

ROOT_ADDRESS = 0x000FFFFFFFFFE000
"""Address bits of CR3 without bit 12, which page table isolation sets for the user page table."""
ROOT_IN_QEMU_NOTE = 416
"""Offset of CR3 in QEMU's note of a CPU: CR0 to CR4 follow two words, 18 registers, 10 segments."""
PC_REGISTER, SP_REGISTER = "RIP", "RSP"
"""Names in the output of QEMU's `info registers`."""

SYS_PERF_EVENT_OPEN = 298
SYS_BPF = 321
SYS_MEMBARRIER = 324
