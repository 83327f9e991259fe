# SPDX-License-Identifier: GPL-2.0-only
"""Describes single pages of an opened kernel."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TypeVar

from drgn import FaultError, Program

from ..analysis.page_facts import (
    Fact,
    PageFacts,
    UnreadableError,
    can_be_mapped,
    describe_page,
    facts_of_mappings,
    is_mapped,
    unknown_mappings,
)
from ..kernel import page_owners
from ..kernel.owner_names.cgroups import MemoryCgroupNames
from ..kernel.owner_names.files import FileNames
from ..kernel.owner_names.slab_caches import SlabCacheNames
from ..model.ranges import merge
from ..report.page import PageReport
from . import lost_pages
from .address import resolve_addresses
from .inspector import Inspector
from .page_owners import owner_facts

T = TypeVar("T")


def describe_addresses(
    inspector: Inspector, addresses: Sequence[str], *, explain: bool
) -> PageReport:
    """Describe the page of each address; raises UsageError if an address has no page."""
    pfns = resolve_addresses(
        addresses, inspector.target.prog, inspector.layout, inspector.memory_map
    )
    owned, of_owners = _with_owners(inspector, describe(inspector, pfns))
    described, of_tables = _with_mappings(inspector, owned)
    faults = (fact.fault for each in described for fact in each.facts if fact.fault is not None)
    of_pages = lost_pages.described(inspector, faults)
    missing = lost_pages.pointed(inspector, (*of_owners, *of_tables, *of_pages))
    return PageReport(inspector.target.provenance, inspector.layout, described, explain, missing)


def describe(inspector: Inspector, pfns: Sequence[int]) -> list[PageFacts]:
    """Describe each pfn, which must have a struct page, in the order given."""
    # Structures that describe the owner of a page need the kernel's types.
    kernel = None if inspector.layout.unavailable else _Reader(inspector.target.prog)
    known: dict[int, PageFacts] = {}
    for pages in inspector.sections(merge((pfn, pfn + 1) for pfn in pfns)):
        first = pages.batch.first
        for pfn in pfns:
            if first <= pfn < first + len(pages) and pfn not in known:
                known[pfn] = describe_page(pages, pfn - first, kernel)
    return [known[pfn] for pfn in pfns]


def _with_owners(
    inspector: Inspector, pages: Sequence[PageFacts]
) -> tuple[list[PageFacts], tuple[str, ...]]:
    """Return the pages with facts on owners after `use`, and sentences about what is missing."""
    readable = [page.pfn for page in pages if page.readable]
    if inspector.layout.unavailable or not readable:
        return [*pages], ()
    owners, problems = owner_facts(inspector, readable)
    return [_inserted(page, owners.get(page.pfn, ())) for page in pages], problems


def _inserted(page: PageFacts, facts: tuple[Fact, ...]) -> PageFacts:
    if not facts:
        return page
    at = 1 + next(i for i, fact in enumerate(page.facts) if fact.name == "use")
    return replace(page, facts=(*page.facts[:at], *facts, *page.facts[at:]))


def _with_mappings(
    inspector: Inspector, pages: Sequence[PageFacts]
) -> tuple[tuple[PageFacts, ...], tuple[str, ...]]:
    """Return the pages with the processes that map them, and sentences on unreadable tables.

    The page tables are walked once, and only if one of the pages is mapped.
    """
    users = {page.pfn: is_mapped(page) for page in pages if can_be_mapped(page)}
    found = dict.fromkeys(users, facts_of_mappings(0, ()))
    wanted = [pfn for pfn, mapped in users.items() if mapped]
    problems: tuple[str, ...] = ()
    if inspector.layout.unavailable:
        found |= dict.fromkeys(wanted, unknown_mappings())
    elif wanted:
        # Imported here: most pages need none of it.
        from .address_spaces import mappings_of

        mappings, problems = mappings_of(inspector, wanted)
        found |= {pfn: facts_of_mappings(each.count, each.first) for pfn, each in mappings.items()}
    described = (replace(page, facts=(*page.facts, *found.get(page.pfn, ()))) for page in pages)
    return tuple(described), problems


class _Reader:
    """The KernelReader of a drgn Program."""

    def __init__(self, prog: Program) -> None:
        self._prog = prog

    @cached_property
    def _slab_caches(self) -> SlabCacheNames:
        return SlabCacheNames(self._prog)

    @cached_property
    def _files(self) -> FileNames:
        return FileNames(self._prog)

    @cached_property
    def _cgroups(self) -> MemoryCgroupNames:
        return MemoryCgroupNames(self._prog)

    def _read(self, read: Callable[[Program], T]) -> T:
        try:
            return read(self._prog)
        except page_owners.UNREADABLE as error:
            fault = error.address if isinstance(error, FaultError) else None
            raise UnreadableError(str(error), fault) from None

    def page_offset_base(self) -> int:
        return self._read(page_owners.page_offset_base)

    def slab_cache(self, page: int) -> str:
        return self._read(lambda _: self._slab_caches.name_of_slab(page))

    def file_of(self, mapping: int) -> dict[str, str | int]:
        file = self._read(lambda _: self._files.name(mapping))
        return {
            "filesystem": file.filesystem,
            "device": file.device,
            "inode": file.inode,
            "path": file.path,
        }

    def cgroup_name(self, memcg_data: int) -> str:
        return self._read(lambda _: self._cgroups.name(memcg_data))

    def section_flags(self, number: int) -> str:
        return self._read(partial(page_owners.section_flags, number=number))

    def hugetlb_flags(self, private: int) -> list[str]:
        return self._read(partial(page_owners.hugetlb_flags, private=private))
