/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The programs here ask for no version. bcc asks for one, to refuse what came after it: this is the
 * oldest that has all they use.
 */
#ifndef _LINUX_VERSION_H
#define _LINUX_VERSION_H

#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 8, 0)

#endif
