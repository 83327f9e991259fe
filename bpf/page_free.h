/* SPDX-License-Identifier: GPL-2.0-only */
/* The map that page_free.bpf.c fills and pageinspect/trace/program.py reads. */
#ifndef PAGEINSPECT_PAGE_FREE_H
#define PAGEINSPECT_PAGE_FREE_H

#include "page_type.h"

/* Keys: the slot of a type, then these. */
#define KEY_UNTYPED PAGE_TYPE_SLOTS
#define KEY_UNREAD (PAGE_TYPE_SLOTS + 1)
#define KEYS (PAGE_TYPE_SLOTS + 2)

/* Orders that are told apart; a power of two, above MAX_PAGE_ORDER of every x86_64 kernel. */
#define ORDERS 16

struct frees {
	u64 of_order[ORDERS];
};

#endif
