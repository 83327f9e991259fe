/* SPDX-License-Identifier: GPL-2.0-only */
/* Empty: bcc includes it for programs that read packets. */
