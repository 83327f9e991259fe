/* SPDX-License-Identifier: GPL-2.0-only */
/* The maps that page_held.bpf.c fills: pageinspect/trace/held.py reads them by these shapes. */
#ifndef PAGEINSPECT_PAGE_HELD_H
#define PAGEINSPECT_PAGE_HELD_H

/* A block that was allocated and not freed. Its key is the number
 * of its first struct page << ORDER_BITS | its order. */
struct held {
	u64 time_ns; /* CLOCK_MONOTONIC, at its allocation */
	u32 freed; /* pages that were freed of it, if it is freed in parts */
	s32 stack; /* in the map `stacks`; -1: not recorded, or lost */
	u32 gfp;
	u32 pid;
	s32 migratetype; /* or one of the numbers below */
	s32 caller; /* its address less that of the kernel's code, if `stack` is not recorded; else 0 */
	char comm[16];
};

#define ORDER_BITS 4

/* In place of a migratetype. */
#define IN_BULK -1 /* from the bulk allocator */
#define ALLOCATED_BEFORE -2 /* in the array of a caller of the bulk allocator, and not held */

/* Events and pages, by cause. */
struct held_counts {
	u64 allocations;
	u64 allocated_pages;
	u64 failed; /* allocations that got no page */
	u64 bulk_pages;
	u64 bulk_lists; /* calls of the bulk allocator that put pages on a list: not recorded */
	u64 bulk_long; /* pages past the first BULK_MOST of such a call: not recorded */
	u64 contiguous; /* calls */
	u64 contiguous_pages;
	u64 frees;
	u64 freed_pages;
	u64 known; /* frees of a block that was held */
	u64 known_pages;
	u64 parts; /* frees of a part of a block that was held */
	u64 part_pages;
	u64 replaced; /* blocks allocated while they were held: their free was not seen */
	u64 full; /* allocations that did not fit into the map */
	u64 full_pages;
	u64 busy; /* allocations and frees that the map refused, because it was locked */
	u64 stacks; /* stacks that did not fit */
};

/* Pages of one call of the bulk allocator that are recorded. */
#define BULK_MOST 256

#endif
