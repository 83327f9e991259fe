# SPDX-License-Identifier: GPL-2.0-only
"""Totals and counters that agree."""

from pageinspect.model.counters import Counters

ITEMS = {
    "NR_FREE_PAGES": 1000,
    "NR_SLAB_RECLAIMABLE_B": 30,
    "NR_SLAB_UNRECLAIMABLE_B": 70,
    "NR_PAGETABLE": 20,
    "NR_ZSPAGES": 8,
    "NR_ANON_MAPPED": 500,
    "NR_SHMEM": 40,
    "NR_FILE_PAGES": 400,
    "NR_SWAPCACHE": 10,
}
COUNTERS = Counters(ITEMS, pcp=60, hugetlb=1024, inflated=16)
