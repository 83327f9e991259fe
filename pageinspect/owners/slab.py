# SPDX-License-Identifier: GPL-2.0-only
"""Pages of slab caches."""

from .kind import Kind

SLAB = Kind(
    "slab",
    "Pages of slab caches, by cache.",
    "slab_cache of the folio's head: the address of the struct kmem_cache.",
    owns=("slab",),
    group="cache",
    counter="NR_SLAB_RECLAIMABLE_B + NR_SLAB_UNRECLAIMABLE_B, together with large_kmalloc",
    limits="A cache that was merged with others has the name of the first.",
    member="slab_cache",
)
