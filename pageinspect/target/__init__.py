# SPDX-License-Identifier: GPL-2.0-only
"""Opens the kernel to inspect: the running one, a core or a QEMU guest."""
