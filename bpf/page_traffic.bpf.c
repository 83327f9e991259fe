// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts allocations and frees by who allocated and who freed.
 *
 * mm_page_alloc fires for each allocation but those of the bulk allocator's fast path, whose pages are
 * counted when it returns. mm_page_free fires before anything of the page is reset, so a free is also
 * counted by the type that is still set, or by the tag of anonymous memory in the page's mapping.
 *
 * Options besides those of page_filter.h:
 *
 *   STACK_DEPTH      record the kernel stack, of so many frames
 *   TEXT_BLOCKS      record the address of the caller, and the stack only where it is not found
 *   BY_COMM, BY_PID, BY_GFP, BY_MIGRATETYPE
 *                    the members of struct source that are set
 *   MAPPING_OFFSET   of struct page
 *   BULK_ARRAY       number of the argument of the bulk allocator that is the array
 */
#include "page_filter.h"
#include "page_argument.h"
#include "page_caller.h"
#include "page_stack.h"
#include "page_traffic.h"

BPF_HASH(traffic, struct source, u64, MOST_SOURCES);
BPF_PERCPU_ARRAY(sides, struct frees, SIDES);
BPF_PERCPU_ARRAY(lost, u64, TRAFFIC_LOSSES);

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
BPF_ARRAY(walks, struct walk, SIDES);

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

static inline __attribute__((always_inline)) void count_lost(int what)
{
	u64 *times = lost.lookup(&what);

	if (times)
		lock_xadd(times, 1);
}

static inline __attribute__((always_inline)) void count(void *ctx, struct source *who, u64 n)
{
	int side = who->side;
	struct frees *of_side = sides.lookup(&side);
	u64 none = 0, *times;

	if (of_side)
		lock_xadd(&of_side->of_order[who->order & (ORDERS - 1)], n);
#ifdef STACK_DEPTH
	if (!who->caller) {
		who->stack = stack_here(ctx);
		if (who->stack < 0)
			count_lost(LOST_FRAMES);
	}
#endif
#ifdef BY_PID
	who->pid = bpf_get_current_pid_tgid() >> 32;
#endif
#ifdef BY_COMM
	bpf_get_current_comm(who->comm, sizeof(who->comm));
#endif
	times = traffic.lookup_or_try_init(who, &none);
	if (times)
		lock_xadd(times, n);
	else
		count_lost(LOST_SOURCES);
}

/* Raw tracepoint mm_page_alloc(struct page *page, unsigned int order, gfp_t gfp, int migratetype) */
int count_allocation(struct bpf_raw_tracepoint_args *ctx)
{
	struct source who = { .side = ALLOCATED, .order = ctx->args[1] & (ORDERS - 1), .stack = -1 };

	/* No page was free. */
	if (!ctx->args[0] || !passes_task(who.order))
		return 0;
#ifdef BY_GFP
	who.gfp = ctx->args[2];
#endif
#ifdef BY_MIGRATETYPE
	who.migratetype = ctx->args[3];
#endif
#ifdef TEXT_BLOCKS
	who.caller = caller_or_start(ctx, ALLOCATED);
#endif
	count(ctx, &who, 1);
	return 0;
}

static inline __attribute__((always_inline)) u32 kind_of(const char *page)
{
	u32 type;
#ifdef MAPPING_OFFSET
	u64 mapping;
#endif

	if (bpf_probe_read_kernel(&type, sizeof(type), page + PAGE_TYPE_OFFSET))
		return KIND_UNREAD;
	if (page_type_typed(type))
		return page_type_slot(type);
#ifdef MAPPING_OFFSET
	if (bpf_probe_read_kernel(&mapping, sizeof(mapping), page + MAPPING_OFFSET))
		return KIND_UNREAD;
	if (mapping & 1)
		return KIND_ANONYMOUS;
#endif
	return KIND_UNTYPED;
}

/* Raw tracepoint mm_page_free(struct page *page, unsigned int order) */
int count_free(struct bpf_raw_tracepoint_args *ctx)
{
	struct source who = { .side = FREED, .order = ctx->args[1] & (ORDERS - 1), .stack = -1 };

	if (!passes_task(who.order))
		return 0;
	who.kind = kind_of((const char *)ctx->args[0]);
#ifdef TEXT_BLOCKS
	who.caller = caller_or_start(ctx, FREED);
#endif
	count(ctx, &who, 1);
	return 0;
}

#ifdef BULK_ARRAY
/* Pages in the array of a call of the bulk allocator, by the array's address, if it had any. */
BPF_HASH(in_arrays, u64, u64, MOST_ARRAYS);

/* Returns how many entries of an array are set, without a branch: the verifier follows each. */
static inline __attribute__((always_inline)) u64 pages_in(u64 array, u32 n)
{
	u64 page, negated, found = 0;
	u32 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < BULK_ENTRIES; i++) {
		/* As in hold_array() of page_held.bpf.c: the verifier of 6.1 must know this counter. */
		asm volatile("" : "+r"(i));
		if (i >= n)
			break;
		page = 0;
		bpf_probe_read_kernel(&page, sizeof(page), (void *)array + i * sizeof(page));
		negated = -page;
		asm volatile("" : "+r"(negated));
		found += (page | negated) >> 63;
	}
	return found;
}

/* Entry of the bulk allocator, with an array that may have pages already, and their number */
int note_bulk(struct bpf_raw_tracepoint_args *ctx)
{
	u64 array = argument(ctx, BULK_ARRAY), before;

	if (!array)
		return 0;
	before = pages_in(array, ctx->args[3]);
	if (before && in_arrays.update(&array, &before))
		count_lost(LOST_BULK);
	return 0;
}

/* Return of the bulk allocator; the value is the number of pages in the array, or on the list. */
int count_bulk(struct bpf_raw_tracepoint_args *ctx)
{
	struct source who = { .side = ALLOCATED, .stack = -1 };
	u64 array = argument(ctx, BULK_ARRAY);
	u64 added = (u32)ctx->args[BULK_ARRAY + 1], *before;

	before = in_arrays.lookup(&array);
	if (before) {
		added = pages_in(array, ctx->args[3]) - *before;
		in_arrays.delete(&array);
		if (ctx->args[3] > BULK_ENTRIES)
			count_lost(LOST_BULK);
	}
	/* A single page comes from the allocator that mm_page_alloc reports: the fast path asks for two
	 * or more. */
	if ((s64)added < 2 || !passes_task(0))
		return 0;
#ifdef BY_GFP
	who.gfp = ctx->args[0];
#endif
#ifdef BY_MIGRATETYPE
	who.migratetype = IN_BULK;
#endif
	count(ctx, &who, added);
	return 0;
}
#endif
