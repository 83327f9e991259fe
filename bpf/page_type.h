/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Decodes a page_type word by the numbers of pageinspect's Scheme, which are passed as -D:
 *
 *   PAGE_TYPE_INVERT, PAGE_TYPE_SHIFT, PAGE_TYPE_BASE   word -> slot
 *   PAGE_TYPE_BIAS, PAGE_TYPE_BELOW                     the kernel's own page_has_type()
 *
 * Includes nothing, so that BPF programs and a test on the host can both compile it.
 */
#ifndef PAGEINSPECT_PAGE_TYPE_H
#define PAGEINSPECT_PAGE_TYPE_H

#define PAGE_TYPE_SLOTS 256

/* Scheme.typed() */
static inline __attribute__((always_inline)) int page_type_typed(unsigned int word)
{
	return (int)(word - PAGE_TYPE_BIAS) < (PAGE_TYPE_BELOW);
}

/* Scheme.slots(): 0 to 255; valid only for a word that is typed */
static inline __attribute__((always_inline)) unsigned int page_type_slot(unsigned int word)
{
	if ((word & PAGE_TYPE_BASE) != PAGE_TYPE_BASE)
		return 0;
	return ((word ^ PAGE_TYPE_INVERT) >> PAGE_TYPE_SHIFT) & (PAGE_TYPE_SLOTS - 1);
}

#endif
