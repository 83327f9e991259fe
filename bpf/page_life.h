/* SPDX-License-Identifier: GPL-2.0-only */
/* The records of page_life.bpf.c: pageinspect/trace/life.py reads them by these shapes. */
#ifndef PAGEINSPECT_PAGE_LIFE_H
#define PAGEINSPECT_PAGE_LIFE_H

/* What happened to pages: one number for each tracepoint, in the order of trace/life.py. */
enum what {
	ALLOCATED,
	FREED,
	REFILLED,
	DRAINED,
	FALLBACK,
	CACHED,
	UNCACHED,
	LISTED,
	ACTIVATED,
	DIRTIED,
	RECLAIM_WRITTEN,
	MIGRATION_BEGUN,
	MIGRATION_ENDED,
	HUGE_MIGRATION_BEGUN,
	HUGE_MIGRATION_ENDED,
	POOL_TAKEN,
	POOL_GIVEN,
	COLLAPSED,
	KSM_MERGED,
	KSM_REMOVED,
	FAILED,
	RANGE_ISOLATED,
};

struct life_event {
	u64 time_ns; /* CLOCK_MONOTONIC */
	u64 page; /* addresses of struct pages, `end` exclusive */
	u64 end;
	u64 inode;
	u64 index; /* in the page cache, in pages */
	u32 device; /* as the kernel has it: major << 20 | minor */
	u32 what;
	u32 gfp;
	s32 migratetype;
	u32 page_type; /* the word, of allocations and frees */
	s32 stack; /* in the map `stacks`; -1: lost */
	u32 pid;
	u32 cpu;
	char comm[16];
};

#define MOST_STACKS 16384
#define EVENT_PAGES 1024 /* of 4 KiB, a power of two */

/* Keys of the map `lost`: what did not fit. */
#define LOST_STACKS 0
#define LOST_EVENTS 1
#define LOSSES 2

#endif
