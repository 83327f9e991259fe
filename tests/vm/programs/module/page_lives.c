// SPDX-License-Identifier: GPL-2.0-only
/*
 * Gives one block of pages back and takes it again, and logs each step.
 *
 *   echo ORDER > /sys/module/page_lives/parameters/take
 *   echo TIMES > /sys/module/page_lives/parameters/again
 *
 * /sys/kernel/debug/page_lives has the log, 8 bytes each: pfn << 16 | order << 8 | what, where what
 * is 0 for a free and 1 for an allocation. The module gives the block back when it is removed.
 */
#include <linux/debugfs.h>
#include <linux/irqflags.h>
#include <linux/mm.h>
#include <linux/module.h>

#define MOST 4096

static u64 steps[MOST];
static struct debugfs_blob_wrapper blob = { .data = steps };
static unsigned int count, order;
static struct dentry *file;
static struct page *block;

static void note(struct page *page, unsigned int what)
{
	if (count < MOST)
		steps[count++] = (u64)page_to_pfn(page) << 16 | order << 8 | what;
	blob.size = count * sizeof(*steps);
}

/* Not inlined, and no jump at its end: stacks are to name it. */
static noinline void give_block(void)
{
	note(block, 0);
	__free_pages(block, order);
	barrier();
}

static noinline void take_block(gfp_t gfp)
{
	block = alloc_pages(gfp, order);
	if (block)
		note(block, 1);
	barrier();
}

static int take(const char *value, const struct kernel_param *param)
{
	unsigned int wanted;
	int error = kstrtouint(value, 0, &wanted);

	if (error)
		return error;
	if (block)
		give_block();
	order = wanted;
	take_block(GFP_KERNEL);
	return block ? 0 : -ENOMEM;
}

static int again(const char *value, const struct kernel_param *param)
{
	unsigned int times;
	int error = kstrtouint(value, 0, &times);

	if (error || !block)
		return error ?: -EINVAL;
	while (times-- && block) {
		unsigned long flags;

		/* The allocator gives a CPU the block that it freed last. */
		local_irq_save(flags);
		give_block();
		take_block(GFP_ATOMIC);
		local_irq_restore(flags);
	}
	return block ? 0 : -ENOMEM;
}

static int __init begin(void)
{
	file = debugfs_create_blob("page_lives", 0400, NULL, &blob);
	return 0;
}

static void __exit give_back(void)
{
	debugfs_remove(file);
	if (block)
		give_block();
}

static const struct kernel_param_ops take_ops = { .set = take };
static const struct kernel_param_ops again_ops = { .set = again };

module_param_cb(take, &take_ops, NULL, 0200);
module_param_cb(again, &again_ops, NULL, 0200);
module_init(begin);
module_exit(give_back);
MODULE_DESCRIPTION("Frees and takes the same pages, for tests");
MODULE_LICENSE("GPL");
