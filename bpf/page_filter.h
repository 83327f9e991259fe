/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Filters of frees. Each is compiled in if its -D is given:
 *
 *   ONLY_ORDERS      mask of orders
 *   ONLY_PAGES       number of entries of the map `ranges`, a power of two (see in_ranges())
 *   ONLY_PID         process id
 *   ONLY_COMM        the two 64-bit words of a task's name
 *
 * Also the test for sets of kinds, which are five 64-bit masks (see in_set()).
 */
#ifndef PAGEINSPECT_PAGE_FILTER_H
#define PAGEINSPECT_PAGE_FILTER_H

#include "page_free.h"

#ifdef PROBE_READ
#define bpf_probe_read_kernel bpf_probe_read
#endif

#ifdef ONLY_PAGES
/* Defined with the map; NULL for a number outside of it. */
static inline __attribute__((always_inline)) const struct range *range_at(u32 number);

/*
 * Whether any page from `page` to before `end` is in one of the ranges. They are sorted and disjoint,
 * so only the last one that begins before the end can contain it. The binary search starts at a
 * number read from the map, which is always 0: for a constant, the verifier would follow each path
 * separately.
 */
static inline __attribute__((always_inline)) int in_ranges(u64 page, u64 end)
{
	const struct range *range = range_at(0);
	u32 step, last;

	if (!range)
		return 0;
	last = range->zero;
#pragma clang loop unroll(full)
	for (step = ONLY_PAGES / 2; step; step /= 2) {
		range = range_at(last + step);
		if (range && range->first < end)
			last += step;
	}
	range = range_at(last);
	return range && range->first < end && range->end > page;
}
#endif

static inline __attribute__((always_inline)) int same_comm(u64 low, u64 high)
{
	u64 comm[2] = {};

	bpf_get_current_comm(comm, sizeof(comm));
	return comm[0] == low && comm[1] == high;
}

/* All filters but that of pages. */
static inline __attribute__((always_inline)) int passes_task(u32 order)
{
#ifdef ONLY_ORDERS
	if (!(ONLY_ORDERS >> order & 1))
		return 0;
#endif
#ifdef ONLY_PID
	if (bpf_get_current_pid_tgid() >> 32 != ONLY_PID)
		return 0;
#endif
#ifdef ONLY_COMM
	if (!same_comm(ONLY_COMM))
		return 0;
#endif
	return 1;
}

static inline __attribute__((always_inline)) int passes(u64 page, u32 order)
{
	if (!passes_task(order))
		return 0;
#ifdef ONLY_PAGES
	return in_ranges(page, page + ((u64)STRUCT_PAGE_SIZE << order));
#else
	return 1;
#endif
}

/* The masks of slots 0 to 63, 64 to 127, 128 to 191, 192 to 255, and of the other kinds. */
static inline __attribute__((always_inline)) int in_set(u32 kind, u64 m0, u64 m1, u64 m2, u64 m3,
							u64 others)
{
	u64 mask = kind < 64 ? m0 : kind < 128 ? m1 : kind < 192 ? m2 : kind < 256 ? m3 : others;

	return mask >> (kind & 63) & 1;
}

#endif
