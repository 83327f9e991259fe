// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records what tracepoints report about some pages: one function for each tracepoint.
 *
 * Offsets in struct page, struct address_space, struct inode and struct super_block are passed as
 * -D. The map `vmemmap` has the address of the first struct page, because tracepoints of migration
 * and others have a pfn. A tracepoint of several pages is recorded if it has one of the ranges.
 */
#include "page_filter.h"
#include "page_argument.h"
#include "page_life.h"

BPF_ARRAY(ranges, struct range, ONLY_PAGES);
BPF_ARRAY(vmemmap, u64, 1);
#ifdef PERF_BUFFER
BPF_PERF_OUTPUT(events);
#else
BPF_RINGBUF_OUTPUT(events, EVENT_PAGES);
#endif
BPF_STACK_TRACE(stacks, MOST_STACKS);
BPF_PERCPU_ARRAY(lost, u64, LOSSES);

#define INLINE static inline __attribute__((always_inline))

INLINE const struct range *range_at(u32 number)
{
	return ranges.lookup(&number);
}

INLINE void count_lost(int what)
{
	u64 *times = lost.lookup(&what);

	if (times)
		lock_xadd(times, 1);
}

INLINE u64 word_at(u64 address)
{
	u64 word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), (void *)address);
	return word;
}

INLINE u32 half_word_at(u64 address)
{
	u32 word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), (void *)address);
	return word;
}

INLINE u64 page_of(u64 pfn)
{
	int first = 0;
	u64 *start = vmemmap.lookup(&first);

	return start ? *start + pfn * STRUCT_PAGE_SIZE : 0;
}

INLINE u64 end_of(u64 page, u32 order)
{
	return page + ((u64)STRUCT_PAGE_SIZE << (order & 31));
}

INLINE u64 end_of_folio(u64 folio)
{
	u32 order = 0;

	if (word_at(folio + FLAGS_OFFSET) >> HEAD_BIT & 1)
		order = half_word_at(folio + FOLIO_ORDER_OFFSET) & FOLIO_ORDER_MASK;
	return end_of(folio, order);
}

/* The pfn of a migration entry is in the inverted offset of a swap entry. */
INLINE u64 page_of_swap(u64 entry)
{
	return page_of(~entry << SWAP_TYPE_BITS >> SWAP_OFFSET_SHIFT & SWAP_PFN_MASK);
}

INLINE u64 page_of_entry(u64 entry)
{
	return page_of((entry & ENTRY_ADDRESS) >> PAGE_BITS);
}

INLINE int is_watched(u64 page, u64 end)
{
	return page && in_ranges(page, end);
}

INLINE int send(struct bpf_raw_tracepoint_args *ctx, struct life_event *event)
{
#ifdef PERF_BUFFER
	return events.perf_submit(ctx, event, sizeof(*event));
#else
	return events.ringbuf_output(event, sizeof(*event), 0);
#endif
}

INLINE void record(struct bpf_raw_tracepoint_args *ctx, u32 what, struct life_event *event)
{
	event->what = what;
	event->time_ns = bpf_ktime_get_ns();
	event->stack = stacks.get_stackid(ctx, 0);
	/* Another stack may occupy the bucket of this hash. Without the innermost frame, which is this
	 * program, the stack has a different hash. */
	if (event->stack < 0)
		event->stack = stacks.get_stackid(ctx, 1);
	if (event->stack < 0) {
		event->stack = -1;
		count_lost(LOST_STACKS);
	}
	event->pid = bpf_get_current_pid_tgid() >> 32;
	event->cpu = bpf_get_smp_processor_id();
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	if (send(ctx, event))
		count_lost(LOST_EVENTS);
}

INLINE int of_pages(struct bpf_raw_tracepoint_args *ctx, u32 what, u64 page, u64 end, u32 gfp,
		    s32 migratetype)
{
	struct life_event event = {
		.page = page, .end = end, .gfp = gfp, .migratetype = migratetype,
	};

	if (!is_watched(page, end))
		return 0;
	if (what == ALLOCATED || what == FREED)
		event.page_type = half_word_at(page + PAGE_TYPE_OFFSET);
	record(ctx, what, &event);
	return 0;
}

INLINE int of_folio(struct bpf_raw_tracepoint_args *ctx, u32 what, int number)
{
	u64 folio = argument(ctx, number);

	return of_pages(ctx, what, folio, folio ? end_of_folio(folio) : 0, 0, -1);
}

INLINE int of_file(struct bpf_raw_tracepoint_args *ctx, u32 what)
{
	u64 folio = argument(ctx, 0), inode;
	struct life_event event = { .page = folio, .migratetype = -1 };

	event.end = end_of_folio(folio);
	if (!is_watched(folio, event.end))
		return 0;
	event.index = word_at(folio + INDEX_OFFSET);
	inode = word_at(word_at(folio + MAPPING_OFFSET) + HOST_OFFSET);
	event.inode = word_at(inode + INODE_NUMBER_OFFSET);
	event.device = half_word_at(word_at(inode + SUPER_BLOCK_OFFSET) + DEVICE_OFFSET);
	record(ctx, what, &event);
	return 0;
}

/* Bit 0 of a netmem_ref is set if it is no struct page. */
INLINE int of_pool(struct bpf_raw_tracepoint_args *ctx, u32 what)
{
	return argument(ctx, 1) & 1 ? 0 : of_folio(ctx, what, 1);
}

INLINE int of_pfn(struct bpf_raw_tracepoint_args *ctx, u32 what)
{
	u64 page = page_of(argument(ctx, 0));

	return of_pages(ctx, what, page, end_of(page, 0), 0, -1);
}

/* mm_page_alloc(struct page *page, unsigned int order, gfp_t gfp_flags, int migratetype) */
int on_alloc(struct bpf_raw_tracepoint_args *ctx)
{
	u64 page = argument(ctx, 0);

	return of_pages(ctx, ALLOCATED, page, end_of(page, ctx->args[1]), ctx->args[2],
			ctx->args[3]);
}

/* mm_page_free(struct page *page, unsigned int order) */
int on_free(struct bpf_raw_tracepoint_args *ctx)
{
	u64 page = argument(ctx, 0);

	return of_pages(ctx, FREED, page, end_of(page, ctx->args[1]), 0, -1);
}

/* mm_page_alloc_zone_locked(struct page *page, unsigned int order, int migratetype, ...) */
int on_refill(struct bpf_raw_tracepoint_args *ctx)
{
	u64 page = argument(ctx, 0);

	return of_pages(ctx, REFILLED, page, end_of(page, ctx->args[1]), 0, ctx->args[2]);
}

/* mm_page_pcpu_drain(struct page *page, unsigned int order, int migratetype) */
int on_drain(struct bpf_raw_tracepoint_args *ctx)
{
	u64 page = argument(ctx, 0);

	return of_pages(ctx, DRAINED, page, end_of(page, ctx->args[1]), 0, ctx->args[2]);
}

/* mm_page_alloc_extfrag(struct page *page, int alloc_order, int fallback_order,
 *                       int alloc_migratetype, int fallback_migratetype) */
int on_fallback(struct bpf_raw_tracepoint_args *ctx)
{
	u64 page = argument(ctx, 0);

	return of_pages(ctx, FALLBACK, page, end_of(page, ctx->args[2]), 0, ctx->args[3]);
}

/* mm_filemap_add_to_page_cache(struct folio *folio) */
int on_cached(struct bpf_raw_tracepoint_args *ctx)
{
	return of_file(ctx, CACHED);
}

/* mm_filemap_delete_from_page_cache(struct folio *folio) */
int on_uncached(struct bpf_raw_tracepoint_args *ctx)
{
	return of_file(ctx, UNCACHED);
}

/* mm_lru_insertion(struct folio *folio) */
int on_listed(struct bpf_raw_tracepoint_args *ctx)
{
	return of_folio(ctx, LISTED, 0);
}

/* mm_lru_activate(struct folio *folio) */
int on_activated(struct bpf_raw_tracepoint_args *ctx)
{
	return of_folio(ctx, ACTIVATED, 0);
}

/* writeback_dirty_folio(struct folio *folio, struct address_space *mapping) */
int on_dirtied(struct bpf_raw_tracepoint_args *ctx)
{
	return of_folio(ctx, DIRTIED, 0);
}

/* mm_vmscan_write_folio(struct folio *folio) */
int on_reclaim_written(struct bpf_raw_tracepoint_args *ctx)
{
	return of_folio(ctx, RECLAIM_WRITTEN, 0);
}

/* set_migration_pte(unsigned long addr, unsigned long pte, int order) */
int on_migration_begun(struct bpf_raw_tracepoint_args *ctx)
{
	u64 page = page_of_swap(ctx->args[1]);

	return of_pages(ctx, MIGRATION_BEGUN, page, end_of(page, ctx->args[2]), 0, -1);
}

/* remove_migration_pte(unsigned long addr, unsigned long pte, int order) */
int on_migration_ended(struct bpf_raw_tracepoint_args *ctx)
{
	u64 page = page_of_entry(ctx->args[1]);

	return of_pages(ctx, MIGRATION_ENDED, page, end_of(page, ctx->args[2]), 0, -1);
}

/* set_migration_pmd(unsigned long addr, unsigned long pmd) */
int on_huge_migration_begun(struct bpf_raw_tracepoint_args *ctx)
{
	u64 page = page_of_swap(ctx->args[1]);

	return of_pages(ctx, HUGE_MIGRATION_BEGUN, page, end_of(page, PMD_ORDER), 0, -1);
}

/* remove_migration_pmd(unsigned long addr, unsigned long pmd) */
int on_huge_migration_ended(struct bpf_raw_tracepoint_args *ctx)
{
	u64 page = page_of_entry(ctx->args[1]);

	return of_pages(ctx, HUGE_MIGRATION_ENDED, page, end_of(page, PMD_ORDER), 0, -1);
}

/* page_pool_state_hold(const struct page_pool *pool, netmem_ref or struct page *, u32 hold) */
int on_pool_taken(struct bpf_raw_tracepoint_args *ctx)
{
	return of_pool(ctx, POOL_TAKEN);
}

/* page_pool_state_release(const struct page_pool *pool, netmem_ref or struct page *, u32 release) */
int on_pool_given(struct bpf_raw_tracepoint_args *ctx)
{
	return of_pool(ctx, POOL_GIVEN);
}

/* mm_collapse_huge_page_isolate(struct folio or page *, ...) */
int on_collapsed(struct bpf_raw_tracepoint_args *ctx)
{
	return of_folio(ctx, COLLAPSED, 0);
}

/* ksm_merge_one_page(unsigned long pfn, ...) */
int on_ksm_merged(struct bpf_raw_tracepoint_args *ctx)
{
	return of_pfn(ctx, KSM_MERGED);
}

/* ksm_remove_ksm_page(unsigned long pfn) */
int on_ksm_removed(struct bpf_raw_tracepoint_args *ctx)
{
	return of_pfn(ctx, KSM_REMOVED);
}

/* memory_failure_event(unsigned long pfn, int type, int result) */
int on_failed(struct bpf_raw_tracepoint_args *ctx)
{
	return of_pfn(ctx, FAILED);
}

/* test_pages_isolated(unsigned long start_pfn, unsigned long end_pfn, unsigned long fin_pfn) */
int on_range_isolated(struct bpf_raw_tracepoint_args *ctx)
{
	return of_pages(ctx, RANGE_ISOLATED, page_of(ctx->args[0]), page_of(ctx->args[1]), 0, -1);
}
