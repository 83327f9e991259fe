# SPDX-License-Identifier: GPL-2.0-only
"""Free pages."""

from ..classify.uses import Pages
from .kind import Kind, use_keys

FREE = Kind(
    "free",
    "Free pages: of the buddy allocator (buddy), or on per-CPU lists (pcp).",
    "The use, which is also the name.",
    owns=("buddy", "pcp"),
    counter="NR_FREE_PAGES; sum of pcp->count",
    compute=use_keys,
    reads=(Pages.use,),
)
