// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts the frees of pages by the page type that is still set.
 *
 * mm_page_free fires at the start of free_pages_prepare(), wherever that is inlined, before anything
 * of the page is reset. Kernel headers are not needed: offsets in struct page are passed as -D, like
 * the numbers of page_type.h. Code that costs more than one read and one look-up is compiled in only
 * if its -D is given:
 *
 *   PAGE_POOL_MASK   pages with the signature of page_pool are a kind of their own
 *   COUNT_TAILS      count types on the tails of frees that are not compound pages
 *   WHO_SET          the kinds that `who` counts by who freed them
 *   EVENT_SET        the kinds whose frees are events
 *   STACK_SET        the kinds whose frees have their kernel stack recorded
 *   BY_*             the members of struct who that are set
 *   BAD_PAGES        the second program, which counts calls of bad_page()
 *
 * and other forms for older kernels:
 *
 *   PLAIN_TRACEPOINT the arguments of the tracepoint have no types
 *   PERF_BUFFER      events go to buffers of perf, not to a ring buffer
 *   PROBE_READ       (in page_filter.h) the helper bpf_probe_read_kernel() is bpf_probe_read()
 */
#include "page_filter.h"
#include "page_word.h"

BPF_PERCPU_ARRAY(frees, struct frees, KINDS);

#ifdef ONLY_PAGES
BPF_ARRAY(ranges, struct range, ONLY_PAGES);

static inline __attribute__((always_inline)) const struct range *range_at(u32 number)
{
	return ranges.lookup(&number);
}
#endif

#if defined(PAGE_POOL_MASK) || defined(COUNT_TAILS) || defined(BY_PLACE) || defined(PLAIN_TRACEPOINT)
#define PAGE_WORDS (PAGE_TYPE_OFFSET / 8 + 1)
#else
#define PAGE_WORDS 1
#endif

#if defined(WHO_SET) || defined(EVENT_SET)
BPF_PERCPU_ARRAY(lost, u64, LOSSES);

static inline __attribute__((always_inline)) void count_lost(int what)
{
	u64 *times = lost.lookup(&what);

	if (times)
		lock_xadd(times, 1);
}
#endif

#ifdef WHO_SET
BPF_HASH(who, struct who, u64, MOST_WHO);
#endif
#ifdef EVENT_SET
#ifdef PERF_BUFFER
BPF_PERF_OUTPUT(events);
#else
BPF_RINGBUF_OUTPUT(events, EVENT_PAGES);
#endif
#endif
#ifdef STACK_SET
BPF_STACK_TRACE(stacks, MOST_STACKS);
#endif
#ifdef COUNT_TAILS
BPF_PERCPU_ARRAY(tails, u64, PAGE_TYPE_SLOTS);
#endif

#if PAGE_WORDS == 1 && !defined(PLAIN_TRACEPOINT)
/* Reads only the page_type word, by a plain load. */
static inline __attribute__((always_inline)) int kind_of(const char *page, u32 order, u64 *words)
{
	u64 type = page_type_word(page);

	return page_type_typed(type) ? page_type_slot(type) : KIND_UNTYPED;
}
#else
/* Reads from the start of struct page to the page_type word, in one call. */
static inline __attribute__((always_inline)) int kind_of(const char *page, u32 order, u64 *words)
{
	u32 type;

	if (bpf_probe_read_kernel(words, PAGE_WORDS * sizeof(u64), page))
		return KIND_UNREAD;
#ifdef HWPOISON_BIT
	/* free_pages_prepare() does not give a poisoned page of order 0 to the buddy. */
	if (!order && words[FLAGS_OFFSET / 8] >> HWPOISON_BIT & 1)
		return KIND_HWPOISON;
#endif
	type = words[PAGE_TYPE_OFFSET / 8] >> 8 * (PAGE_TYPE_OFFSET % 8);
	if (page_type_typed(type))
		return page_type_slot(type);
#ifdef PAGE_POOL_MASK
	if ((words[PAGE_POOL_OFFSET / 8] & PAGE_POOL_MASK) == PAGE_POOL_VALUE)
		return KIND_PAGE_POOL;
#endif
	return KIND_UNTYPED;
}
#endif

#ifdef COUNT_TAILS
static inline __attribute__((always_inline)) void count_tails(const char *page, u32 order)
{
	u32 i, slot, type;
	u64 *pages;

#pragma clang loop unroll(disable)
	for (i = 1; i < 1 << MAX_ORDER; i++) {
		if (i >> order)
			break;
		if (bpf_probe_read_kernel(&type, sizeof(type),
					  page + i * STRUCT_PAGE_SIZE + PAGE_TYPE_OFFSET))
			continue;
		if (!page_type_typed(type))
			continue;
		slot = page_type_slot(type);
		pages = tails.lookup(&slot);
		if (pages)
			lock_xadd(pages, 1);
	}
}
#endif

#if defined(WHO_SET) || defined(EVENT_SET)
static inline __attribute__((always_inline)) void record_free(struct bpf_raw_tracepoint_args *ctx, u32 kind,
						       u32 order, u64 *words)
{
	struct who freed = { .kind = kind, .order = order, .stack = -1 };
	s32 stack = -1;

#ifdef STACK_SET
	if (in_set(kind, STACK_SET)) {
		stack = stacks.get_stackid(ctx, 0);
		/* Another stack may occupy the bucket of this hash. Without the innermost frame, which is
		 * this program, the stack has a different hash. */
		if (stack < 0)
			stack = stacks.get_stackid(ctx, 1);
		if (stack < 0) {
			stack = -1;
			count_lost(LOST_STACKS);
		}
	}
#endif
#ifdef BY_STACK
	freed.stack = stack;
#endif
#ifdef BY_PID
	freed.pid = bpf_get_current_pid_tgid() >> 32;
#endif
#ifdef BY_CPU
	freed.cpu = bpf_get_smp_processor_id();
#endif
#ifdef BY_PLACE
	freed.place = words[FLAGS_OFFSET / 8] >> ZONE_NODE_SHIFT;
#endif
#ifdef BY_COMM
	bpf_get_current_comm(freed.comm, sizeof(freed.comm));
#endif

#ifdef WHO_SET
	if (in_set(kind, WHO_SET)) {
		u64 none = 0, *times = who.lookup_or_try_init(&freed, &none);

		if (times)
			lock_xadd(times, 1);
		else
			count_lost(LOST_WHO);
	}
#endif
#if defined(EVENT_SET) && defined(PERF_BUFFER)
	if (in_set(kind, EVENT_SET)) {
		struct event event = { .time_ns = bpf_ktime_get_ns(), .page = ctx->args[0], .who = freed };

		event.who.stack = stack;
		event.who.pid = bpf_get_current_pid_tgid() >> 32;
		event.who.cpu = bpf_get_smp_processor_id();
		bpf_get_current_comm(event.who.comm, sizeof(event.who.comm));
		if (events.perf_submit(ctx, &event, sizeof(event)))
			count_lost(LOST_EVENTS);
	}
#elif defined(EVENT_SET)
	if (in_set(kind, EVENT_SET)) {
		struct event *event = events.ringbuf_reserve(sizeof(*event));

		if (!event) {
			count_lost(LOST_EVENTS);
			return;
		}
		event->time_ns = bpf_ktime_get_ns();
		event->page = ctx->args[0];
		event->who = freed;
		event->who.stack = stack;
		event->who.pid = bpf_get_current_pid_tgid() >> 32;
		event->who.cpu = bpf_get_smp_processor_id();
		bpf_get_current_comm(event->who.comm, sizeof(event->who.comm));
		events.ringbuf_submit(event, 0);
	}
#endif
}
#endif

/* Raw tracepoint mm_page_free(struct page *page, unsigned int order), its arguments typed by BTF */
int count_page_free(struct bpf_raw_tracepoint_args *ctx)
{
	const char *page = (const char *)ctx->args[0];
	u32 order = ctx->args[1] & (ORDERS - 1);
	u64 words[PAGE_WORDS] = {};
	struct frees *of_kind;
	u64 address = 0;
	int kind;

#ifdef ONLY_PAGES
	/* Read the pointer as a number: the verifier forbids most arithmetic on pointers. */
	bpf_probe_read_kernel(&address, sizeof(address), &ctx->args[0]);
#endif
	if (!passes(address, order))
		return 0;
	kind = kind_of(page, order, words);
	of_kind = frees.lookup(&kind);
	/* In the middle of an addition, an interrupt that frees pages may run this program again (up to
	 * v6.1), and another task its second copy: the addition is atomic, so that neither is lost. */
	if (of_kind)
		lock_xadd(&of_kind->of_order[order], 1);
#ifdef COUNT_TAILS
	if (order && kind != KIND_UNREAD && !(words[FLAGS_OFFSET / 8] >> HEAD_BIT & 1))
		count_tails(page, order);
#endif
#if defined(WHO_SET) && defined(EVENT_SET)
	if (in_set(kind, WHO_SET) || in_set(kind, EVENT_SET))
		record_free(ctx, kind, order, words);
#elif defined(WHO_SET)
	if (in_set(kind, WHO_SET))
		record_free(ctx, kind, order, words);
#elif defined(EVENT_SET)
	if (in_set(kind, EVENT_SET))
		record_free(ctx, kind, order, words);
#endif
	return 0;
}

#ifdef BAD_PAGES
BPF_PERCPU_ARRAY(bad_pages, u64, 1);

/* kprobe bad_page(struct page *page, const char *reason) */
int count_bad_page(void *ctx)
{
	int first = 0;
	u64 *times = bad_pages.lookup(&first);

	if (times)
		lock_xadd(times, 1);
	return 0;
}
#endif
