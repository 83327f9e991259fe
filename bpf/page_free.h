/* SPDX-License-Identifier: GPL-2.0-only */
/* The maps that page_free.bpf.c fills: pageinspect/trace/records.py reads them by these shapes. */
#ifndef PAGEINSPECT_PAGE_FREE_H
#define PAGEINSPECT_PAGE_FREE_H

#include "page_type.h"

/* What a free is counted as: the slot of the type that is set, or one of these. */
#define KIND_UNTYPED PAGE_TYPE_SLOTS
#define KIND_PAGE_POOL (PAGE_TYPE_SLOTS + 1)
#define KIND_UNREAD (PAGE_TYPE_SLOTS + 2)
#define KIND_HWPOISON (PAGE_TYPE_SLOTS + 3)
#define KINDS (PAGE_TYPE_SLOTS + 4)

/* Orders that are told apart; a power of two, above MAX_PAGE_ORDER of every x86_64 kernel. */
#define ORDERS 16

/* Addresses of struct pages: from the first to before the end. */
struct range {
	u64 first;
	u64 end;
	u64 zero;
};

struct frees {
	u64 of_order[ORDERS];
};

/* Who freed: what was not asked for is 0, and so makes no difference. */
struct who {
	u32 kind;
	u32 order;
	s32 stack; /* in the map `stacks`; -1: not asked for, or lost */
	u32 pid;
	u32 cpu;
	u32 place; /* zone and node, as ZONE_NODE_SHIFT cuts them out of the page's flags */
	char comm[16];
};

/* One free, as it happened. */
struct event {
	u64 time_ns; /* CLOCK_MONOTONIC */
	u64 page; /* address of its struct page */
	struct who who;
};

#define MOST_WHO 16384
#define MOST_STACKS 16384
#define EVENT_PAGES 1024 /* of 4 KiB, a power of two */

/* What did not fit, in the map `lost`. */
#define LOST_WHO 0
#define LOST_STACKS 1
#define LOST_EVENTS 2
#define LOSSES 3

#endif
