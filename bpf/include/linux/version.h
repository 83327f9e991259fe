/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The programs here do not depend on the version, but bcc does: it rejects features that are newer.
 * This is the oldest version with all features that they use.
 */
#ifndef _LINUX_VERSION_H
#define _LINUX_VERSION_H

#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE KERNEL_VERSION(5, 8, 0)

#endif
