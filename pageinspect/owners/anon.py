# SPDX-License-Identifier: GPL-2.0-only
"""Anonymous memory of processes."""

import numpy as np

from ..classify.uses import USE, Pages
from ..classify.words import MAPPING
from .kind import Keys, Kind

KSM, SWAP_CACHE = 1, 2
"""Keys in place of a mapping, which is never so small."""


def _anon_vma(pages: Pages) -> Keys:
    keys = np.where(pages.use == USE["ksm"], np.uint64(KSM), pages.read(MAPPING))
    keys[pages.use == USE["swapcache"]] = SWAP_CACHE
    return keys


ANON = Kind(
    "anon",
    "Anonymous memory, by the processes that may map it: COMM[PID], `COMM[PID] and N more`. Pages "
    "merged by KSM have the name `(KSM)`, and pages of the swap cache that have no mapping "
    "`(swap cache)`.",
    "mapping of the folio's head: the struct anon_vma, whose tree has the memory areas that may "
    "map the page, with their processes.",
    owns=("anon", "ksm", "swapcache"),
    group="task",
    counter="NR_ANON_MAPPED, without swapcache",
    limits="After fork() the memory areas of both processes are in the tree of the parent's struct "
    "anon_vma, whether or not both map the page. `pageinspect page` shows who maps it.",
    compute=_anon_vma,
    reads=(Pages.use, MAPPING),
)
