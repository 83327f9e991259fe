// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keeps one unmovable page in each 2 MiB of memory that it is given pages of.
 *
 *   echo PAGES > /sys/module/spread_pages/parameters/pages
 *
 * It allocates PAGES pages one by one, frees all but the first of each 2 MiB, and maps those next
 * to each other, as a driver does with a large buffer. /sys/kernel/debug/spread_pages has their
 * pfns, 8 bytes each. The module gives the pages back when it is removed.
 */
#include <linux/bitmap.h>
#include <linux/debugfs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/vmalloc.h>

#define BLOCK_ORDER 9
/* Enough for 16 GiB. */
#define BLOCKS (8 << 10)

static DECLARE_BITMAP(seen, BLOCKS);
static u64 pfns[BLOCKS];
static struct debugfs_blob_wrapper blob = { .data = pfns };
static struct page **kept;
static struct dentry *file;
static void *buffer;

static int spread(const char *value, const struct kernel_param *param)
{
	unsigned int wanted, count = 0;
	struct page *page, *next;
	unsigned long block;
	LIST_HEAD(rest);
	int error = kstrtouint(value, 0, &wanted);

	if (error || buffer)
		return error ?: -EBUSY;
	while (wanted--) {
		page = alloc_page(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN);
		if (!page)
			break;
		block = page_to_pfn(page) >> BLOCK_ORDER;
		if (block >= BLOCKS || test_and_set_bit(block, seen)) {
			list_add(&page->lru, &rest);
		} else {
			pfns[count] = page_to_pfn(page);
			kept[count++] = page;
		}
	}
	list_for_each_entry_safe(page, next, &rest, lru)
		__free_page(page);
	blob.size = count * sizeof(*pfns);
	/* The area has the pages from here on: vfree() frees them and the array. */
	buffer = vmap(kept, count, VM_MAP | VM_MAP_PUT_PAGES, PAGE_KERNEL);
	return buffer ? 0 : -ENOMEM;
}

static int __init begin(void)
{
	kept = kvmalloc_array(BLOCKS, sizeof(*kept), GFP_KERNEL);
	if (!kept)
		return -ENOMEM;
	file = debugfs_create_blob("spread_pages", 0400, NULL, &blob);
	return 0;
}

static void __exit give_back(void)
{
	debugfs_remove(file);
	if (buffer)
		vfree(buffer);
	else
		kvfree(kept);
}

static const struct kernel_param_ops spread_ops = { .set = spread };

module_param_cb(pages, &spread_ops, NULL, 0200);
module_init(begin);
module_exit(give_back);
MODULE_DESCRIPTION("Spreads unmovable pages over memory, for tests");
MODULE_LICENSE("GPL");
