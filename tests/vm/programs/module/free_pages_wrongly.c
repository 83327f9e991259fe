// SPDX-License-Identifier: GPL-2.0-only
/*
 * Frees pages as a kernel bug would: with a page type set, or while a page_pool has them.
 *
 *   echo WORD ORDER TIMES INDEX > /sys/module/free_pages_wrongly/parameters/typed
 *   echo WORD ORDER TIMES > /sys/module/free_pages_wrongly/parameters/tables
 *   echo WORD TIMES > /sys/module/free_pages_wrongly/parameters/taken
 *   echo TIMES > /sys/module/free_pages_wrongly/parameters/page_pool
 *
 * WORD is the whole page_type word, so that any kernel's encoding can be written. INDEX says which
 * page of the 1 << ORDER gets it: 0 the first, the others are tails. They are no compound page.
 *
 * `tables` frees as arm64's memory hot-remove did: page tables whose destructor nobody called.
 * `taken` sets the type of a page that the allocator has, and takes the page again.
 */
#include <linux/gfp.h>
#include <linux/irqflags.h>
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

/* Not inlined, and no jump at its end: stacks are to name it. */
static noinline void free_hotplug_pgtable_page(struct page *page, unsigned int order)
{
	__free_pages(page, order);
	barrier();
}

static int free_tables(const char *value, const struct kernel_param *param)
{
	unsigned int word, order, times;

	if (sscanf(value, "%x %u %u", &word, &order, &times) != 3)
		return -EINVAL;
	while (times--) {
		struct page *page = alloc_pages(GFP_KERNEL, order);

		if (!page)
			return -ENOMEM;
		page->page_type = word;
		free_hotplug_pgtable_page(page, order);
	}
	return 0;
}

/* Whether the allocator gave back the page whose type was set while it had it. */
static bool take_again(unsigned int word)
{
	struct page *page = alloc_page(GFP_KERNEL), *again;
	unsigned int untyped;
	unsigned long flags;

	if (!page)
		return false;
	untyped = page->page_type;
	/* The allocator gives a CPU the page that it freed last. */
	local_irq_save(flags);
	__free_page(page);
	page->page_type = word;
	again = alloc_page(GFP_ATOMIC);
	page->page_type = untyped;
	local_irq_restore(flags);
	if (again)
		__free_page(again);
	return again == page;
}

static int take_typed(const char *value, const struct kernel_param *param)
{
	unsigned int word, times, attempts;

	if (sscanf(value, "%x %u", &word, &times) != 2)
		return -EINVAL;
	for (attempts = 16 * times; times && attempts; attempts--)
		times -= take_again(word);
	return times ? -EAGAIN : 0;
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
static const struct kernel_param_ops tables_ops = { .set = free_tables };
static const struct kernel_param_ops taken_ops = { .set = take_typed };
static const struct kernel_param_ops page_pool_ops = { .set = free_from_pool };

module_param_cb(typed, &typed_ops, NULL, 0200);
module_param_cb(tables, &tables_ops, NULL, 0200);
module_param_cb(taken, &taken_ops, NULL, 0200);
module_param_cb(page_pool, &page_pool_ops, NULL, 0200);
MODULE_DESCRIPTION("Frees pages as a bug would, for tests");
MODULE_LICENSE("GPL");
