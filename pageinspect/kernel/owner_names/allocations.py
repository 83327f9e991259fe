# SPDX-License-Identifier: GPL-2.0-only
"""Names the code that allocated pages: by an allocation tag, or by a stack of page_owner."""

import re
from collections.abc import Iterable
from functools import cached_property

from drgn import FaultError, Program

from ...model.allocations import AllocationTag, handle_of
from ...model.kernel_memory import Modules
from ...model.owner_names import UNREADABLE
from ..members import Members
from ..module_memory import CodeNames
from ..stack_depot import StackDepot
from ..structures import read_string, require_structure

_LONGEST_NAME = 256
_ALLOCATORS = re.compile(
    r"_*(?:post_alloc_hook|prep_new_page|get_page_from_freelist|rmqueue\w*"
    r"|alloc_(?:frozen_)?pages(?:_\w+)?|alloc_page_interleave|alloc_contig_\w+"
    r"|(?:vma_)?(?:folio_alloc|alloc_folio)(?:_\w+)?|get_free_pages?\w*|get_zeroed_page\w*"
    r"|k[vz]?malloc(?!_reserve)\w*|kv?realloc\w*|kmem_cache_alloc\w*|do_kmalloc\w*"
    r"|page_frag_(?:alloc|cache)\w*|dma_(?:direct_)?alloc_\w+|dma_direct_alloc)"
    r"(?:\..*)?"
)
"""Functions of allocators: who calls them is the owner."""


class AllocationNames:
    """Names sites: see model/allocations.py. `unreadable` counts those without a name."""

    def __init__(self, prog: Program, modules: Modules) -> None:
        self._prog = prog
        self._code = CodeNames(prog, modules)
        self.unreadable = 0

    def names(self, sites: Iterable[int]) -> list[str]:
        """Return the name of each site; raises MissingStructureError."""
        return [self.name(site) for site in sites]

    def name(self, site: int) -> str:
        """Return "FUNCTION (FILE:LINE)" of a tag, or "CALLER via ALLOCATOR" of a stack."""
        handle = handle_of(site)
        if handle is None:
            tag = self.tag(site)
            return self._unreadable() if tag is None else str(tag)
        stack = self.stack(handle)
        return caller_of(stack) if stack else self._unreadable()

    def _unreadable(self) -> str:
        self.unreadable += 1
        return UNREADABLE

    def tag(self, address: int) -> AllocationTag | None:
        """Return the tag at an address; None if it is unreadable."""
        members, prog = self._tag, self._prog
        try:
            data = members.read(address)
            function, file = (
                read_string(prog, members.of(data, name), _LONGEST_NAME)
                for name in ("function", "filename")
            )
            module = members.of(data, "modname")
            module_name = read_string(prog, module, _LONGEST_NAME) if module else ""
        except FaultError:
            return None
        return AllocationTag(function, file, members.of(data, "lineno"), module_name)

    def stack(self, handle: int) -> tuple[str, ...] | None:
        """Return the functions of a stack, innermost first; None if it is unreadable."""
        frames = self._depot.frames(handle)
        # A return address may be the first one after its function.
        return None if frames is None else tuple(self._code.name(a - 1) for a in frames if a)

    @cached_property
    def _tag(self) -> Members:
        with require_structure("allocation tags"):
            return Members(
                self._prog, "struct codetag", "lineno", "modname", "function", "filename"
            )

    @cached_property
    def _depot(self) -> StackDepot:
        return StackDepot(self._prog)


def caller_of(stack: tuple[str, ...]) -> str:
    """Return the first function that is not an allocator's, and which of these it called.

    `stack` has at least one function.
    """
    inside = 0
    while inside < len(stack) - 1 and _ALLOCATORS.fullmatch(stack[inside]):
        inside += 1
    return f"{stack[inside]} via {stack[inside - 1]}" if inside else stack[0]
