/* SPDX-License-Identifier: GPL-2.0-only */
/* The maps that page_free.bpf.c fills: pageinspect/trace/records.py reads them by these shapes. */
#ifndef PAGEINSPECT_PAGE_FREE_H
#define PAGEINSPECT_PAGE_FREE_H

#include "page_type.h"

/* Kinds of frees: the slot of the type that is set, or one of these. */
#define KIND_UNTYPED PAGE_TYPE_SLOTS
#define KIND_PAGE_POOL (PAGE_TYPE_SLOTS + 1)
#define KIND_UNREAD (PAGE_TYPE_SLOTS + 2)
#define KIND_HWPOISON (PAGE_TYPE_SLOTS + 3)
#define KINDS (PAGE_TYPE_SLOTS + 4)

/* Orders that are counted; a power of two, above MAX_PAGE_ORDER of every x86_64 kernel. */
#define ORDERS 16

/* Addresses of struct pages, `end` exclusive; `zero` is 0 (see in_ranges()). */
struct range {
	u64 first;
	u64 end;
	u64 zero;
};

struct frees {
	u64 of_order[ORDERS];
};

/* The key that frees are grouped by. Members of options that are not given are 0. */
struct who {
	u32 kind;
	u32 order;
	s32 stack; /* in the map `stacks`; -1: not recorded, or lost */
	u32 pid;
	u32 cpu;
	u32 place; /* zone and node: the page's flags >> ZONE_NODE_SHIFT */
	char comm[16];
};

/* One free. */
struct event {
	u64 time_ns; /* CLOCK_MONOTONIC */
	u64 page; /* address of its struct page */
	struct who who;
};

#define MOST_WHO 16384
#define MOST_STACKS 16384
#define EVENT_PAGES 1024 /* of 4 KiB, a power of two */

/* Keys of the map `lost`: what did not fit. */
#define LOST_WHO 0
#define LOST_STACKS 1
#define LOST_EVENTS 2
#define LOSSES 3

#endif
