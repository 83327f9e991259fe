# SPDX-License-Identifier: GPL-2.0-only
"""The fact that lists the processes that map a page."""

from ...model.table import Absent
from ...units import number
from ..processes import Mappings
from .facts import Fact, PageFacts

MOST_SHOWN = 16
"""Mappings that are listed of one page."""

_COUNTS = ("mapcount", "large_mapcount", "entire_mapcount", "nr_pages_mapped")
_USES = frozenset(("anon", "file", "hugetlb", "ksm", "mapped", "shmem", "swapcache"))
_RULE = (
    "The page tables of all processes: pid, name and virtual address of each mapping. They are "
    "read only for pages with a mapcount."
)


def can_be_mapped(page: PageFacts) -> bool:
    """Return whether a page is one that processes map, by its use."""
    use = page.get("use")
    return use is not None and use.value in _USES


def is_mapped(page: PageFacts) -> bool:
    """Return whether the mapcounts of a page or its folio say that processes map it."""
    counts = [fact.value for name in _COUNTS if (fact := page.get(name)) is not None]
    known = [count for count in counts if isinstance(count, int)]
    # A page whose mapcounts are in a descriptor may be mapped.
    return not known or any(count > 0 for count in known)


def facts_of_mappings(mappings: Mappings | None) -> tuple[Fact, ...]:
    """Return the facts on the mappings of a page; None if they are unavailable."""
    if mappings is None:
        return (Fact("mapped_by", Absent.UNAVAILABLE, "unknown", "", _RULE),)
    listed = [
        {"pid": each.pid, "comm": each.comm, "address": f"{each.address:#x}"}
        for each in mappings.first
    ]
    lines = [f"{each['pid']} ({each['comm']}) at {each['address']}" for each in listed]
    hidden = mappings.count - len(listed)
    if hidden:
        lines.append(f"and {number(hidden)} more")
    first, *more = lines or ["no process"]
    return (
        Fact("mapped_by", listed, first, "", _RULE, more=tuple(more)),
        Fact("mappings", mappings.count, ""),
    )
