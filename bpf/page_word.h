/* SPDX-License-Identifier: GPL-2.0-only */
/* Reads a page_type word, by a plain load if the arguments of the tracepoint have types. */
#ifndef PAGEINSPECT_PAGE_WORD_H
#define PAGEINSPECT_PAGE_WORD_H

#ifdef PLAIN_TRACEPOINT
static inline __attribute__((always_inline)) u64 page_type_word(const char *page)
{
	u32 type = 0;

	bpf_probe_read_kernel(&type, sizeof(type), page + PAGE_TYPE_OFFSET);
	return type;
}
#else
/* The verifier must know that `page` is a struct page. In assembly, because bcc would rewrite a
 * dereference in C as a call of bpf_probe_read_kernel(). */
static inline __attribute__((always_inline)) u64 page_type_word(const char *page)
{
	u64 type;

	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(type) : "r"(page), "i"(PAGE_TYPE_OFFSET));
	return type;
}
#endif

#endif
