# SPDX-License-Identifier: GPL-2.0-only
"""Describes who allocated single pages, for kernels that keep this."""

import numpy as np

from ..analysis.page_facts import Fact, fact_of_stack, fact_of_tag
from ..kernel.owner_names.allocations import AllocationNames
from ..kernel.page_ext import read_allocation, read_sites
from ..kernel.structures import MissingStructureError
from ..model.allocations import AllocationTag, PageExt, handle_of
from ..model.kernel_memory import Modules
from ..vmemmap import reader
from .inspector import Inspector
from .structures import read_structures


class PageAllocations:
    """The facts on the allocations of pages. `problems` has sentences about what is missing."""

    def __init__(self, inspector: Inspector, ext: PageExt, modules: Modules | None) -> None:
        """`modules` is None if the modules were not read yet."""
        self._inspector = inspector
        self._ext = ext
        self._prog = inspector.target.prog
        self.problems: tuple[str, ...] = ()
        if modules is None:
            structures, self.problems = read_structures(inspector, ("modules",))
            modules = structures.modules or Modules()
        self._names = AllocationNames(self._prog, modules)

    def facts(self, pfn: int, head: int) -> tuple[Fact, ...]:
        """Return the facts on a page; `head` is the first page of its folio."""
        try:
            return self._facts(pfn, head)
        except MissingStructureError as error:
            self.problems = (*self.problems, f"allocations: {error}")
            return ()

    def _facts(self, pfn: int, head: int) -> tuple[Fact, ...]:
        allocation = read_allocation(self._prog, self._ext, pfn)
        if allocation is not None and head == pfn:
            # Only the first page of an allocation has a tag, and it may be no compound page.
            head = pfn >> allocation.order << allocation.order
        facts = []
        tag = self._tag(head)
        if tag is not None:
            facts.append(fact_of_tag(tag))
        if allocation is not None:
            stack = self._names.stack(allocation.handle)
            facts.append(fact_of_stack(allocation, stack))
        return tuple(facts)

    def _tag(self, pfn: int) -> AllocationTag | None:
        """Return the allocation tag of a page; None without one."""
        inspector, pfns = self._inspector, np.array([pfn])
        words = reader.read_words(self._prog, inspector.layout, pfns, pfns + 1, inspector.mapped)
        flags = words[:, inspector.layout.flags // 8]
        site = int(read_sites(self._prog, self._ext, pfns, flags)[0])
        return self._names.tag(site) if site and handle_of(site) is None else None
