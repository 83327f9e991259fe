/* SPDX-License-Identifier: GPL-2.0-only */
/* The maps that page_traffic.bpf.c fills: pageinspect/trace/traffic.py reads them by these shapes. */
#ifndef PAGEINSPECT_PAGE_TRAFFIC_H
#define PAGEINSPECT_PAGE_TRAFFIC_H

#define ALLOCATED 0
#define FREED 1
#define SIDES 2

/* The key that allocations and frees are counted by. Members of options that are not given are 0. */
struct source {
	u32 side;
	u32 order;
	u32 kind; /* of a free: as in page_free.h, or KIND_ANONYMOUS */
	s32 stack; /* in the map `stacks`; -1: not recorded, or lost */
	u32 pid;
	u32 gfp; /* of an allocation, as the next */
	s32 migratetype; /* or IN_BULK */
	s32 caller; /* its address less that of the kernel's code, if `stack` is not recorded; else 0 */
	char comm[16];
};

/* A page without a type whose mapping has the tag of anonymous memory. */
#define KIND_ANONYMOUS KINDS

/* In place of a migratetype: from the bulk allocator. */
#define IN_BULK -1

#define MOST_SOURCES 65536

/* Keys of the map `lost`. */
#define LOST_SOURCES 0
#define LOST_FRAMES 1
#define LOST_BULK 2 /* calls of the bulk allocator with an array that is not looked at as a whole */
#define TRAFFIC_LOSSES 3

/* Entries of an array of the bulk allocator that are looked at. */
#define BULK_ENTRIES 512
/* Calls of the bulk allocator at the same time whose arrays have pages before. */
#define MOST_ARRAYS 1024

#endif
