# SPDX-License-Identifier: GPL-2.0-only
"""Large allocations of kmalloc(), which are not in a slab."""

from ..classify.uses import Pages
from .kind import Keys, Kind


def _order(pages: Pages) -> Keys:
    return pages.order.astype("uint64")


LARGE_KMALLOC = Kind(
    "large_kmalloc",
    "Allocations of kmalloc() that are too large for a slab, by order.",
    "The page type.",
    owns=("large_kmalloc",),
    counter="NR_SLAB_RECLAIMABLE_B + NR_SLAB_UNRECLAIMABLE_B, together with slab",
    limits="Struct page does not lead to who holds the memory. In kernels without this page type, "
    "such pages are unknown.",
    compute=_order,
    reads=(Pages.order,),
)
