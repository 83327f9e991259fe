// SPDX-License-Identifier: GPL-2.0-only
/*
 * Takes pages in every way that the page allocator has, each in a function of its own.
 *
 *   echo 1 > /sys/module/leak_by_callers/parameters/take
 *
 * takes 1000 single pages, 10 blocks of 8 pages, 100 pages in bulk into an array that has 8 pages
 * already, 64 pages by vmalloc(), and a block of 16 pages of which it frees 5. The module gives the
 * pages back when it is removed.
 *
 *   echo TIMES > /sys/module/leak_by_callers/parameters/churn
 *
 * takes and frees 64 pages by vmalloc() and 64 pages of a page_pool, so many times.
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/version.h>
#include <linux/vmalloc.h>
#if __has_include(<net/page_pool/helpers.h>)
#include <net/page_pool/helpers.h>
#else
#include <net/page_pool.h>
#endif

#define SINGLE 1000
#define BLOCKS 10
#define BLOCK_ORDER 3
#define BULK 108
#define FILLED 8
#define SPLIT_ORDER 4
#define SPLIT_FREED 5
#define AREA_PAGES 64

static struct page *single[SINGLE], *blocks[BLOCKS], *bulk[BULK], *split;
static void *area;

static noinline void leak_single(void)
{
	int i;

	for (i = 0; i < SINGLE; i++)
		single[i] = alloc_page(GFP_KERNEL);
}

static noinline void leak_blocks(void)
{
	int i;

	for (i = 0; i < BLOCKS; i++)
		blocks[i] = alloc_pages(GFP_KERNEL, BLOCK_ORDER);
}

/* Before the trace, so that these are no pages of it. */
static noinline void fill_some(void)
{
	int i;

	for (i = 0; i < FILLED; i++)
		bulk[i * 3] = alloc_page(GFP_KERNEL);
}

static noinline void leak_bulk(void)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 14, 0)
	alloc_pages_bulk_array(GFP_KERNEL, BULK, bulk);
#else
	alloc_pages_bulk(GFP_KERNEL, BULK, bulk);
#endif
	/* Else the call is a jump, and this function is not on the stack. */
	barrier();
}

static noinline void leak_area(void)
{
	area = vmalloc(AREA_PAGES * PAGE_SIZE);
}

static noinline void leak_part(void)
{
	int i;

	split = alloc_pages(GFP_KERNEL, SPLIT_ORDER);
	if (!split)
		return;
	split_page(split, SPLIT_ORDER);
	for (i = 0; i < SPLIT_FREED; i++)
		__free_page(split + i);
}

static int take(const char *value, const struct kernel_param *param)
{
	if (split)
		return -EBUSY;
	leak_single();
	leak_blocks();
	leak_bulk();
	leak_area();
	leak_part();
	return 0;
}

static int churn(const char *value, const struct kernel_param *param)
{
	struct page_pool_params params = { .pool_size = AREA_PAGES, .nid = NUMA_NO_NODE };
	struct page *pages[AREA_PAGES];
	struct page_pool *pool;
	unsigned int times, i;
	int error = kstrtouint(value, 0, &times);

	if (error)
		return error;
	while (times--) {
		vfree(vmalloc(AREA_PAGES * PAGE_SIZE));
		pool = page_pool_create(&params);
		if (IS_ERR(pool))
			return PTR_ERR(pool);
		for (i = 0; i < AREA_PAGES; i++)
			pages[i] = page_pool_dev_alloc_pages(pool);
		for (i = 0; i < AREA_PAGES; i++)
			if (pages[i])
				page_pool_put_full_page(pool, pages[i], false);
		page_pool_destroy(pool);
	}
	return 0;
}

static int __init begin(void)
{
	fill_some();
	return 0;
}

static void __exit give_back(void)
{
	int i;

	for (i = 0; i < SINGLE; i++)
		if (single[i])
			__free_page(single[i]);
	for (i = 0; i < BLOCKS; i++)
		if (blocks[i])
			__free_pages(blocks[i], BLOCK_ORDER);
	for (i = 0; i < BULK; i++)
		if (bulk[i])
			__free_page(bulk[i]);
	vfree(area);
	if (split)
		for (i = SPLIT_FREED; i < 1 << SPLIT_ORDER; i++)
			__free_page(split + i);
}

static const struct kernel_param_ops take_ops = { .set = take };

static const struct kernel_param_ops churn_ops = { .set = churn };

module_param_cb(take, &take_ops, NULL, 0200);
module_param_cb(churn, &churn_ops, NULL, 0200);
module_init(begin);
module_exit(give_back);
MODULE_DESCRIPTION("Takes pages in every way, for tests");
MODULE_LICENSE("GPL");
