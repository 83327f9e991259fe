/* SPDX-License-Identifier: GPL-2.0-only */
/* Reads a page_type word by a plain load. */
#ifndef PAGEINSPECT_PAGE_WORD_H
#define PAGEINSPECT_PAGE_WORD_H

/* The verifier must know that `page` is a struct page. In assembly, because bcc would rewrite a
 * dereference in C as a call of bpf_probe_read_kernel(). */
static inline __attribute__((always_inline)) u64 page_type_word(const char *page)
{
	u64 type;

	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(type) : "r"(page), "i"(PAGE_TYPE_OFFSET));
	return type;
}

#endif
