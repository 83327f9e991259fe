/* SPDX-License-Identifier: GPL-2.0-only */
/* bcc gives the size of ring buffers in pages. */
#ifndef _ASM_PAGE_H
#define _ASM_PAGE_H

#define PAGE_SHIFT 12
#define PAGE_SIZE (1UL << PAGE_SHIFT)

#endif
