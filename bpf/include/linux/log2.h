/* SPDX-License-Identifier: GPL-2.0-only */
/* bcc rounds the size of some maps; the argument is always a constant. */
#ifndef _LINUX_LOG2_H
#define _LINUX_LOG2_H

#define roundup_pow_of_two(n) (1UL << (64 - __builtin_clzl((n) - 1)))

#endif
