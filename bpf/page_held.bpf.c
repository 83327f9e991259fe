// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keeps each block of pages that is allocated, until it is freed: by whom, and when.
 *
 * mm_page_alloc fires for each allocation but those of the bulk allocator's fast path, whose array is
 * read when it returns, and contiguous ranges, which are only counted. mm_page_free fires before the
 * page reaches the buddy allocator, so nobody can allocate it again before its entry is deleted.
 *
 * A block may be freed in parts: by __free_pages() of a block with other users, after split_page(),
 * or after a folio was split. Its entry then counts the pages that were freed.
 *
 * Options besides those of page_filter.h, which are about the allocation:
 *
 *   MOST_HELD        entries of the map
 *   STACK_DEPTH      record the kernel stack, of so many frames
 *   TEXT_BLOCKS      record the address of the caller, and the stack only where it is not found:
 *                    blocks of the kernel's code, and FRAME_TABLES tables for them
 *   BY_COMM          record the task's name
 *   PAGE_BASE        address that struct pages are counted from, aligned as the largest block
 *   BULK_ARRAY       number of the argument of the bulk allocator that is the array
 *   CONTIGUOUS       compile the program for contiguous ranges
 */
#include "page_filter.h"
#include "page_argument.h"
#include "page_caller.h"
#include "page_held.h"
#include "page_stack.h"

BPF_HASH(held, u64, struct held, MOST_HELD);
BPF_PERCPU_ARRAY(counts, struct held_counts, 2);

/* Blocks of each order that are held. Only those above order 0 are counted. */
struct blocks {
	u64 of_order[ORDERS];
};
BPF_ARRAY(blocks, struct blocks, 1);

#ifdef ONLY_PAGES
BPF_ARRAY(ranges, struct range, ONLY_PAGES);

static inline __attribute__((always_inline)) const struct range *range_at(u32 number)
{
	return ranges.lookup(&number);
}
#endif

#ifdef STACK_DEPTH
BPF_TABLE("stacktrace", int, struct frames, stacks, MOST_STACKS);

static inline __attribute__((always_inline)) s32 stack_number(void *ctx, u64 skipped)
{
	return stacks.get_stackid(ctx, skipped);
}
#endif

#ifdef TEXT_BLOCKS
BPF_ARRAY(text_blocks, u64, TEXT_BLOCKS);
BPF_ARRAY(frame_tables, struct frame_table, FRAME_TABLES);
BPF_ARRAY(walks, struct walk, 1);

static inline __attribute__((always_inline)) u64 *text_block_at(u32 number)
{
	return text_blocks.lookup(&number);
}

static inline __attribute__((always_inline)) struct frame_table *frame_table_at(u32 number)
{
	return frame_tables.lookup(&number);
}

static inline __attribute__((always_inline)) struct walk *walk_at(u32 number)
{
	return walks.lookup(&number);
}
#endif

#define ERROR_EXISTS (-17)
#define ERROR_TOO_BIG (-7)
#define ERROR_NO_ENTRY (-2)

static inline __attribute__((always_inline)) u64 number_of(u64 page)
{
	return (page - PAGE_BASE) / STRUCT_PAGE_SIZE;
}

static inline __attribute__((always_inline)) u64 key_of(u64 number, u32 order)
{
	return number << ORDER_BITS | order;
}

static inline __attribute__((always_inline)) void count_block(u32 order, s64 n)
{
	int first = 0;
	struct blocks *all = blocks.lookup(&first);

	if (all && order)
		lock_xadd(&all->of_order[order & (ORDERS - 1)], n);
}

static inline __attribute__((always_inline)) void hold(struct held_counts *count, u64 number, u32 order,
						      struct held *new)
{
	u64 key = key_of(number, order);
	int result = held.insert(&key, new);

	if (result == 0) {
		if (order)
			count_block(order, 1);
	} else if (result == ERROR_EXISTS) {
		lock_xadd(&count->replaced, 1);
		held.update(&key, new);
	} else if (result == ERROR_TOO_BIG) {
		lock_xadd(&count->full, 1);
		lock_xadd(&count->full_pages, 1ULL << order);
	} else {
		lock_xadd(&count->busy, 1);
	}
}

static inline __attribute__((always_inline)) void describe(struct held *new)
{
	new->time_ns = bpf_ktime_get_ns();
	new->pid = bpf_get_current_pid_tgid() >> 32;
	new->stack = -1;
#ifdef BY_COMM
	bpf_get_current_comm(new->comm, sizeof(new->comm));
#endif
}

static inline __attribute__((always_inline)) void describe_stack(void *ctx, struct held_counts *count,
								struct held *new)
{
#ifdef STACK_DEPTH
	new->stack = stack_here(ctx);
	if (new->stack < 0)
		lock_xadd(&count->stacks, 1);
#endif
}

/* Raw tracepoint mm_page_alloc(struct page *page, unsigned int order, gfp_t gfp, int migratetype) */
int hold_pages(struct bpf_raw_tracepoint_args *ctx)
{
	u64 page = ctx->args[0];
	u32 order = ctx->args[1] & (ORDERS - 1);
	struct held_counts *count;
	struct held new = {};
	int first = 0;

	count = counts.lookup(&first);
	if (!count)
		return 0;
	if (!page) {
		lock_xadd(&count->failed, 1);
		return 0;
	}
	if (!passes(page, order))
		return 0;
	lock_xadd(&count->allocations, 1);
	lock_xadd(&count->allocated_pages, 1ULL << order);
	new.gfp = ctx->args[2];
	new.migratetype = ctx->args[3];
	describe(&new);
#ifdef TEXT_BLOCKS
	new.caller = caller_or_start(ctx, 0);
#endif
	if (!new.caller)
		describe_stack(ctx, count, &new);
	hold(count, number_of(page), order, &new);
	return 0;
}

/* A free of a part of a block that is held; returns whether there is one. */
static inline __attribute__((always_inline)) int release_part(struct held_counts *count, u64 number, u32 order)
{
	struct blocks *all;
	struct held *whole;
	int first = 0;
	u32 larger;
	u64 key;

	all = blocks.lookup(&first);
	if (!all)
		return 0;
#pragma clang loop unroll(full)
	for (larger = 1; larger <= MAX_ORDER; larger++) {
		if (larger <= order || !all->of_order[larger])
			continue;
		key = key_of(number >> larger << larger, larger);
		whole = held.lookup(&key);
		if (!whole)
			continue;
		lock_xadd(&whole->freed, 1 << order);
		/* No other CPU can have allocated the block before this page is freed, so if two CPUs see
		 * that all of it is freed, the second finds nothing to delete. */
		if (whole->freed >= 1 << larger && !held.delete(&key))
			count_block(larger, -1);
		lock_xadd(&count->parts, 1);
		lock_xadd(&count->part_pages, 1ULL << order);
		return 1;
	}
	return 0;
}

/* Raw tracepoint mm_page_free(struct page *page, unsigned int order) */
int release_pages(struct bpf_raw_tracepoint_args *ctx)
{
	u32 order = ctx->args[1] & (ORDERS - 1);
	u64 number = number_of(ctx->args[0]);
	u64 key = key_of(number, order);
	struct held_counts *count;
	int result, first = 0;

	count = counts.lookup(&first);
	if (!count)
		return 0;
	lock_xadd(&count->frees, 1);
	lock_xadd(&count->freed_pages, 1ULL << order);
	result = held.delete(&key);
	if (!result) {
		lock_xadd(&count->known, 1);
		lock_xadd(&count->known_pages, 1ULL << order);
		if (order)
			count_block(order, -1);
	} else if (result != ERROR_NO_ENTRY) {
		lock_xadd(&count->busy, 1);
	} else {
		release_part(count, number, order);
	}
	return 0;
}

#ifdef BULK_ARRAY
/* Holds the pages of an array, but those that are held already. The verifier follows each branch of
 * each round, so a round has no more than two: errors are counted by calculation. */
static inline __attribute__((always_inline)) void hold_array(struct held_counts *count, u64 array, u32 n,
							    struct held *new)
{
	u64 page, key, refused, held_already, added = 0, full = 0;
	u32 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < BULK_MOST; i++) {
		/* The verifier knows this counter in each round. Without this line, the compiler counts
		 * down from the smaller of both limits, of which the verifier of 6.1 knows nothing. */
		asm volatile("" : "+r"(i));
		if (i >= n)
			break;
		page = 0;
		bpf_probe_read_kernel(&page, sizeof(page), (void *)array + i * sizeof(page));
		if (!page)
			continue;
		key = key_of(number_of(page), 0);
		refused = (s64)held.insert(&key, new);
		held_already = refused;
		/* All ones or 0: whether it is negative; and a bit that -EEXIST has, and not -E2BIG, -EBUSY,
		 * -EDEADLK or -ENOMEM. */
		asm volatile("%0 s>>= 63" : "+r"(refused));
		asm volatile("%0 >>= 1\n%0 &= 1" : "+r"(held_already));
		added += 1 + refused;
		full += (refused & 1) & ~held_already;
	}
	lock_xadd(&count->bulk_pages, added);
	lock_xadd(&count->full, full);
	lock_xadd(&count->full_pages, full);
}

/* Entry of the bulk allocator, with an array that may have pages already, and their number */
int note_bulk(struct bpf_raw_tracepoint_args *ctx)
{
	u64 array = argument(ctx, BULK_ARRAY);
	struct held before = { .migratetype = ALLOCATED_BEFORE };
	struct held_counts *count;
	int first = 1;

	/* Of the tracer's counters, a second set that nobody reads. */
	count = counts.lookup(&first);
	if (count && array)
		hold_array(count, array, ctx->args[3], &before);
	return 0;
}

/* Return of the bulk allocator; the value is the number of pages in the array. */
int hold_bulk(struct bpf_raw_tracepoint_args *ctx)
{
	u64 array = argument(ctx, BULK_ARRAY);
	u32 n = ctx->args[BULK_ARRAY + 1];
	struct held_counts *count;
	struct held new = { .migratetype = IN_BULK };
	int first = 0;

	count = counts.lookup(&first);
	if (!count || !passes_task(0))
		return 0;
	if (!array) {
		lock_xadd(&count->bulk_lists, 1);
		return 0;
	}
	new.gfp = ctx->args[0];
	describe(&new);
	describe_stack(ctx, count, &new);
	hold_array(count, array, n, &new);
	if (n > BULK_MOST)
		lock_xadd(&count->bulk_long, n - BULK_MOST);
	return 0;
}
#endif

#ifdef CONTIGUOUS
/* Return of the allocator of contiguous ranges: its first arguments are the first pfn and the end. */
int count_contiguous(struct bpf_raw_tracepoint_args *ctx)
{
	struct held_counts *count;
	int first = 0;

	count = counts.lookup(&first);
	if (!count || (int)argument(ctx, CONTIGUOUS))
		return 0;
	lock_xadd(&count->contiguous, 1);
	lock_xadd(&count->contiguous_pages, ctx->args[1] - ctx->args[0]);
	return 0;
}
#endif
