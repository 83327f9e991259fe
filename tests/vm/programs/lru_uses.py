# SPDX-License-Identifier: GPL-2.0-only
"""What /proc/kpageflags says of the use of a page on an LRU list, in a guest or outside."""

import numpy as np

LRU, ANON, SWAPBACKED = (np.uint64(1 << bit) for bit in (5, 12, 14))

USES = {"anon": ("anon", "ksm"), "shmem": ("shmem", "swapcache"), "file": ("file",)}
"""Uses that pages may have, by what the kernel says."""


def by_kernel(flags: np.ndarray) -> dict[str, np.ndarray]:
    """Return which entries of kpageflags, (n,) uint64, are each of USES; some are none."""
    lru, anon, backed = ((flags & bit) != 0 for bit in (LRU, ANON, SWAPBACKED))
    return {"anon": lru & anon, "shmem": lru & ~anon & backed, "file": lru & ~anon & ~backed}
