// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts allocations by the page type that is still set when the pages leave the allocator.
 *
 * mm_page_alloc fires at the end of __alloc_pages(), before the caller has the page. Filters are those
 * of page_filter.h; the records are those of page_free.h. A kind that is a type has its stack recorded.
 */
#include "page_filter.h"
#include "page_word.h"

BPF_PERCPU_ARRAY(allocs, struct frees, KINDS);
BPF_HASH(who, struct who, u64, MOST_WHO);
BPF_STACK_TRACE(stacks, MOST_STACKS);
BPF_PERCPU_ARRAY(lost, u64, LOSSES);

#ifdef ONLY_PAGES
BPF_ARRAY(ranges, struct range, ONLY_PAGES);

static inline __attribute__((always_inline)) const struct range *range_at(u32 number)
{
	return ranges.lookup(&number);
}
#endif

static inline __attribute__((always_inline)) void count_lost(int what)
{
	u64 *times = lost.lookup(&what);

	if (times)
		lock_xadd(times, 1);
}

static inline __attribute__((always_inline)) void record_who(struct bpf_raw_tracepoint_args *ctx, u32 kind,
							     u32 order)
{
	struct who taken = { .kind = kind, .order = order };
	u64 none = 0, *times;

	taken.stack = stacks.get_stackid(ctx, 0);
	if (taken.stack < 0)
		taken.stack = stacks.get_stackid(ctx, 1);
	if (taken.stack < 0) {
		taken.stack = -1;
		count_lost(LOST_STACKS);
	}
	times = who.lookup_or_try_init(&taken, &none);
	if (times)
		lock_xadd(times, 1);
	else
		count_lost(LOST_WHO);
}

/* mm_page_alloc(struct page *page, unsigned int order, gfp_t gfp_flags, int migratetype) */
int count_page_alloc(struct bpf_raw_tracepoint_args *ctx)
{
	const char *page = (const char *)ctx->args[0];
	u32 order = ctx->args[1] & (ORDERS - 1);
	int kind = KIND_UNTYPED;
	struct frees *of_kind;
	u64 address = 0, type;

	/* No page was free. */
	if (!page)
		return 0;
#ifdef ONLY_PAGES
	bpf_probe_read_kernel(&address, sizeof(address), &ctx->args[0]);
#endif
	if (!passes(address, order))
		return 0;
	type = page_type_word(page);
	if (page_type_typed(type))
		kind = page_type_slot(type);
	of_kind = allocs.lookup(&kind);
	if (of_kind)
		lock_xadd(&of_kind->of_order[order], 1);
	if (kind != KIND_UNTYPED)
		record_who(ctx, kind, order);
	return 0;
}
