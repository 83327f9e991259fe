# SPDX-License-Identifier: GPL-2.0-only
"""Pages of network page pools."""

from .kind import Kind

PAGE_POOL = Kind(
    "page_pool",
    "Pages of network page pools, by device and pool.",
    "pp of the folio's head: the struct page_pool.",
    owns=("page_pool",),
    limits="A pool whose device was removed has the name of the pool alone.",
    counter="pages in flight of page pools",
    member="pp",
)
