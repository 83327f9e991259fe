# SPDX-License-Identifier: GPL-2.0-only
"""The fact that lists the processes that map a page."""

from typing import TYPE_CHECKING

from ...model.table import Absent
from ...units import number
from .facts import Fact, PageFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..processes import MappedAt

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


def unknown_mappings() -> tuple[Fact, ...]:
    """Return the fact of a page whose mappings are unavailable."""
    return (Fact("mapped_by", Absent.UNAVAILABLE, "unknown", "", _RULE),)


def facts_of_mappings(count: int, first: "Sequence[MappedAt]") -> tuple[Fact, ...]:
    """Return the facts of a page with so many mappings, of which the first are listed."""
    listed = [
        {"pid": each.pid, "comm": each.comm, "address": f"{each.address:#x}"} for each in first
    ]
    lines = [f"{each['pid']} ({each['comm']}) at {each['address']}" for each in listed]
    hidden = count - len(listed)
    if hidden:
        lines.append(f"and {number(hidden)} more")
    text, *more = lines or ["no process"]
    return (
        Fact("mapped_by", listed, text, "", _RULE, more=tuple(more)),
        Fact("mappings", count, ""),
    )
