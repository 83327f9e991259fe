# SPDX-License-Identifier: GPL-2.0-only
"""Pages of hugetlb pools."""

import numpy as np

from ..classify.uses import Pages
from ..classify.words import MAPPING
from .kind import Keys, Kind

KEY_SHIFT = 56
"""The order is in the key from this bit on."""
ADDRESS = np.uint64((1 << KEY_SHIFT) - 1)


def _order_and_mapping(pages: Pages) -> Keys:
    """Return the order in the high byte, and 56 bits of mapping; 0 instead if the page is free."""
    used = np.where(pages.head_refcount > 0, pages.read(MAPPING) & ADDRESS, np.uint64(0))
    return used | pages.order.astype(np.uint64) << np.uint64(KEY_SHIFT)


def parts_of(key: int) -> tuple[int, int]:
    """Return (order, mapping) of a key; mapping 0 is a free page."""
    address = key & int(ADDRESS)
    return key >> KEY_SHIFT, address | ~int(ADDRESS) % (1 << 64) if address else 0


HUGETLB = Kind(
    "hugetlb",
    "Pages of hugetlb pools, by size and by what has them: `free`, `private mapping`, or the path "
    "of a file.",
    "Order, reference count and mapping of the folio's head.",
    owns=("hugetlb",),
    counter="hstates",
    limits="Reservations are a number of the pool, not pages: a report of all pages divides the "
    "free huge pages by it, and no single page has the name `reserved`.",
    compute=_order_and_mapping,
    reads=(Pages.order, Pages.head_refcount, MAPPING),
)
