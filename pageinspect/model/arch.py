"""Constants of the architecture, which is x86_64: the place to begin with for another one.

Pages and tables are those of arch/x86/include/asm/page_types.h and pgtable_64_types.h, sections
those of sparsemem.h, system calls those of entry/syscalls/syscall_64.tbl.
"""

NAME = "x86_64"
ELF_MACHINE = 62
"""EM_X86_64."""

PAGE_SHIFT = 12
PAGE_SIZE = 1 << PAGE_SHIFT

SECTION_PFNS = 1 << 15
"""pfns of one memory section: 2 MiB of vmemmap; no free block crosses one."""
SUBSECTION_PFNS = 1 << 9
"""pfns of one subsection, the unit of memory hotplug by devices."""
PAGEBLOCK_PFNS = 1 << 9
"""pfns of one pageblock, and of one huge page."""

MAX_ORDER = 10
"""The largest order of a free block: MAX_PAGE_ORDER of every kernel read here."""
GIGANTIC_ORDER = 18
"""The order of the largest huge page, 1 GiB."""

ADDRESSES_OF_KERNEL = 1 << 63
"""No user address, no physical address and no pfn has this bit; every kernel address has it."""
KERNEL_HALF = {4: 0xFFFF800000000000, 5: 0xFF00000000000000}
"""The lowest kernel address, by the levels of page tables."""
COMPOUND_MASKS = 0xFFFFFF0000000000
"""A compound word of a tail from here up is a mask: no struct page lies so high."""

TABLE_ENTRIES = 512
"""Entries of a page table, each of 8 bytes."""
LARGE_PAGE_SIZE = 2 << 20
"""Bytes that one entry of a second-level page table maps."""
KASLR_STEP = 2 << 20
"""The kernel image is moved by multiples of this many bytes."""

SYS_PERF_EVENT_OPEN = 298
SYS_BPF = 321
SYS_MEMBARRIER = 324
