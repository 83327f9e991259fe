# SPDX-License-Identifier: GPL-2.0-only
"""What each metric measures, in a sentence: its help text, and the table in docs/output.md."""

from collections.abc import Mapping

_BLOCKS = {
    "free": "that are free as a whole",
    "movable": "whose pages are free or can be moved",
    "reclaimable": "in which slabs can be reclaimed, and the other pages moved",
    "unmovable": "that have an unmovable page and none that is reserved",
    "reserved": "that have reserved memory and never become free",
}
_SPREADS = {"p50": "Half", "p99": "99 percent"}
_UNMOVABLE = "of the blocks of the zone that have no reserved memory"

MEANINGS: Mapping[str, Mapping[str, str]] = {
    "summary": {
        "pages": "Pages with these labels",
        "folios": "Folios and free blocks that have these labels",
        "bytes": "Size of the pages with these labels",
    },
    "owners": {
        "pages": "Pages of this owner; of (more owners), those of all others of the report",
        "bytes": "Size of the pages of this owner",
    },
    "contiguity": {
        "blocks": "Aligned blocks of this order in which the zone has a page",
        **{f"{name}_blocks": f"Blocks of this order {what}" for name, what in _BLOCKS.items()},
        "blocks_with_unmovable": "Blocks of this order with at least one unmovable page, without "
        "those that have reserved memory",
        **{
            f"unmovable_pages_{part}": f"{share} {_UNMOVABLE} have at most so many unmovable pages"
            for part, share in _SPREADS.items()
        },
        "unmovable_pages_max": f"The most unmovable pages of one {_UNMOVABLE}",
    },
    "contiguity_order": {
        "free_blocks": "Free blocks of this order on the lists of the buddy allocator",
        "fragmentation_index": "Why an allocation of this order fails: -1 if it succeeds, near 0 "
        "for too little memory, near 1 for fragmentation (extfrag_index)",
        "unusable_index": "The part, from 0 to 1, of free memory that is in blocks smaller than "
        "this order (unusable_index)",
    },
    "contiguity_migratetype": {
        "blocks": "Pageblocks of this migratetype",
        **{
            f"{name}_pages": f"Pages in pageblocks of this migratetype that are {name}"
            for name in _BLOCKS
        },
    },
    "contiguity_owner": {
        "blocks_alone": "Blocks that would be free or movable without the pages of this owner",
        "blocks": "Blocks with at least one page of this owner that is in the way",
        "pages": "Pages of this owner that are in the way of free blocks",
        "misplaced_pages": "Of these, pages in pageblocks for movable pages",
    },
    "trace": {
        "frees": "Calls that freed pages with this type set",
        "pages": "Pages that were freed with this type set",
        "bytes": "Size of the pages that were freed with this type set",
        "duration_ns": "Length of the time in which frees were counted",
        "lost_events": "Events that were lost: the counts lack them",
        "disallowed_frees": "Frees with a type set that must not be set",
    },
    "outstanding": {
        "allocations": "Allocations of which pages were not freed",
        "pages": "Pages that were allocated while tracing and not freed",
        "bytes": "Size of these pages",
        "duration_ns": "Length of the time in which allocations were recorded",
        "lost_events": "Events that were lost: pages may be listed that were freed, or lack",
    },
    "alloc": {
        "allocations": "Allocations in the time of the trace",
        "allocated_pages": "Pages that were allocated",
        "frees": "Frees in the time of the trace",
        "freed_pages": "Pages that were freed",
        "duration_ns": "Length of the time in which allocations and frees were counted",
        "lost_events": "Events and stacks that were lost: the other numbers may be too low",
    },
    "walk": {
        "info": "Always 1; the labels are the kernel and how it was read",
        "spanned_pages": "Pages that have a struct page in use, and were asked for",
        "unreadable_pages": "Pages whose struct page could not be read",
        "complete": "1 if every struct page was read and nothing is missing, otherwise 0",
    },
    "check": {
        "counted_pages": "Pages that were counted, to be compared with the kernel's own counter",
        "kernel_pages": "The kernel's own counter of the same pages",
    },
}
"""A sentence for each part of a report and each key of its columns."""
