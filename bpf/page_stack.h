/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Kernel stacks of STACK_DEPTH frames at most: unwinding costs more than all else of an event, and
 * the caller of the allocator is among the first frames.
 */
#ifndef PAGEINSPECT_PAGE_STACK_H
#define PAGEINSPECT_PAGE_STACK_H

#define MOST_STACKS 16384

#ifdef STACK_DEPTH
struct frames {
	u64 addresses[STACK_DEPTH];
};

/* Defined with the map: bcc does not translate uses of maps in headers. */
static inline __attribute__((always_inline)) s32 stack_number(void *ctx, u64 skipped);

/* Returns the number of this stack in the map, or -1. */
static inline __attribute__((always_inline)) s32 stack_here(void *ctx)
{
	s32 stack = stack_number(ctx, 0);

	/* Another stack may occupy the bucket of this hash. Without the innermost frame, which is this
	 * program, the stack has a different hash. */
	if (stack < 0)
		stack = stack_number(ctx, 1);
	return stack < 0 ? -1 : stack;
}
#endif

#endif
