// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frees pages as a kernel bug would: with a page type set, or while a page_pool has them.
 *
 *   echo WORD ORDER TIMES INDEX > /sys/module/free_pages_wrongly/parameters/typed
 *   echo TIMES > /sys/module/free_pages_wrongly/parameters/page_pool
 *
 * WORD is the whole page_type word, so that any kernel's encoding can be written. INDEX says which
 * page of the 1 << ORDER gets it: 0 the first, the others are tails. They are no compound page.
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#if __has_include(<net/page_pool/helpers.h>)
#include <net/page_pool/helpers.h>
#else
#include <net/page_pool.h>
#endif

static int free_typed(const char *value, const struct kernel_param *param)
{
	unsigned int word, order, times, index;

	if (sscanf(value, "%x %u %u %u", &word, &order, &times, &index) != 4 || index >> order)
		return -EINVAL;
	while (times--) {
		struct page *page = alloc_pages(GFP_KERNEL, order);

		if (!page)
			return -ENOMEM;
		page[index].page_type = word;
		__free_pages(page, order);
	}
	return 0;
}

/* put_page() instead of page_pool_put_page(): the page goes to the buddy with the pool's signature. */
static int free_from_pool(const char *value, const struct kernel_param *param)
{
	struct page_pool_params params = { .pool_size = 64, .nid = NUMA_NO_NODE };
	struct page_pool *pool;
	unsigned int times;
	int error = kstrtouint(value, 0, &times);

	if (error)
		return error;
	pool = page_pool_create(&params);
	if (IS_ERR(pool))
		return PTR_ERR(pool);
	while (times--) {
		struct page *page = page_pool_dev_alloc_pages(pool);

		if (!page) {
			error = -ENOMEM;
			break;
		}
		put_page(page);
	}
	/* The pool waits for its pages for ever, which the guest does not live to see. */
	page_pool_destroy(pool);
	return error;
}

static const struct kernel_param_ops typed_ops = { .set = free_typed };
static const struct kernel_param_ops page_pool_ops = { .set = free_from_pool };

module_param_cb(typed, &typed_ops, NULL, 0200);
module_param_cb(page_pool, &page_pool_ops, NULL, 0200);
MODULE_DESCRIPTION("Frees pages as a bug would, for tests");
MODULE_LICENSE("GPL");
