// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counts the frees of pages by the page type that is still set.
 *
 * mm_page_free fires at the start of free_pages_prepare(), wherever that is inlined, before anything
 * of the page is reset. Nothing of a kernel's headers is needed: PAGE_TYPE_OFFSET, the offset of
 * page_type in struct page, comes as -D like the numbers of page_type.h.
 */
#include "page_free.h"

BPF_PERCPU_ARRAY(frees, struct frees, KEYS);

/* Raw tracepoint mm_page_free(struct page *page, unsigned int order) */
int count_page_free(struct bpf_raw_tracepoint_args *ctx)
{
	const char *page = (const char *)ctx->args[0];
	u32 order = ctx->args[1];
	u32 word = 0;
	int key = KEY_UNTYPED;
	struct frees *of_key;

	if (bpf_probe_read_kernel(&word, sizeof(word), page + PAGE_TYPE_OFFSET))
		key = KEY_UNREAD;
	else if (page_type_typed(word))
		key = page_type_slot(word);

	of_key = frees.lookup(&key);
	/* An interrupt may free pages in the middle of an addition, and run this program again where
	 * the kernel lets it (up to v6.1): the addition is atomic so that neither is forgotten. */
	if (of_key)
		lock_xadd(&of_key->of_order[order & (ORDERS - 1)], 1);
	return 0;
}
