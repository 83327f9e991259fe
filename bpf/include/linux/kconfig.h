/* SPDX-License-Identifier: GPL-2.0-only */
/* bcc puts this before every program, and asks for CONFIG_BPF_SYSCALL. */
#ifndef __LINUX_KCONFIG_H
#define __LINUX_KCONFIG_H

#define CONFIG_BPF_SYSCALL 1

#endif
