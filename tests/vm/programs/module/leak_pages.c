// SPDX-License-Identifier: GPL-2.0-only
/*
 * Takes pages one by one, and keeps no more of them than their pfns.
 *
 *   echo PAGES > /sys/module/leak_pages/parameters/pages
 *
 * /sys/kernel/debug/leak_pages has the pfns, 8 bytes each. The module gives the pages back when it
 * is removed.
 */
#include <linux/debugfs.h>
#include <linux/mm.h>
#include <linux/module.h>

#define MOST 4096

static u64 pfns[MOST];
static struct debugfs_blob_wrapper blob = { .data = pfns };
static unsigned int count;
static struct dentry *file;

static int leak(const char *value, const struct kernel_param *param)
{
	unsigned int wanted;
	int error = kstrtouint(value, 0, &wanted);

	if (error)
		return error;
	while (wanted-- && count < MOST) {
		struct page *page = alloc_page(GFP_KERNEL);

		if (!page)
			return -ENOMEM;
		pfns[count++] = page_to_pfn(page);
	}
	blob.size = count * sizeof(*pfns);
	return 0;
}

static int __init begin(void)
{
	file = debugfs_create_blob("leak_pages", 0400, NULL, &blob);
	return 0;
}

static void __exit give_back(void)
{
	debugfs_remove(file);
	while (count)
		__free_page(pfn_to_page(pfns[--count]));
}

static const struct kernel_param_ops leak_ops = { .set = leak };

module_param_cb(pages, &leak_ops, NULL, 0200);
module_init(begin);
module_exit(give_back);
MODULE_DESCRIPTION("Leaks pages, for tests");
MODULE_LICENSE("GPL");
