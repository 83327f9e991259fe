# SPDX-License-Identifier: GPL-2.0-only
"""Finds memory that is missing from a dump although every dump should have it.

makedumpfile -d leaves out zero pages, page cache, user memory and free pages. At every level it
keeps pages of the kernel itself, unless it is too old to know how this kernel marks pages and takes
them for user memory.
"""

from collections.abc import Iterable

from drgn import FaultError

from ..model.arch import PAGE_SIZE
from ..model.ranges import intersect
from ..target import vmcoreinfo
from ..target.page_tables import PageTables
from ..units import number
from .inspector import Inspector

KERNELS = frozenset(("slab", "large_kmalloc", "table", "kernel", "reserved"))
"""Uses of pages that makedumpfile keeps at every level."""

_MOST_NAMED = 4
_WHY = (
    "A makedumpfile that does not know this kernel's page types takes such pages for user memory: "
    "take the dump again with a newer makedumpfile, or without level 8 (-d 23)."
)


def missing(inspector: Inspector, addresses: Iterable[int]) -> tuple[str, ...]:
    """Return sentences on pages that are missing from a core although it should have them.

    `addresses` are kernel addresses at which reads failed. Pages that makedumpfile may leave out
    are not reported, and nothing is reported for a core that is cut off: every report of it has a
    note about that.
    """
    provenance = inspector.target.provenance
    if provenance.source != "core" or not provenance.is_whole:
        return ()
    found: dict[int, str] = {}
    for address in addresses:
        pfn = _absent(inspector, address)
        if pfn is not None and pfn not in found:
            use = _use(inspector, pfn)
            if use in KERNELS:
                found[pfn] = use
    if not found:
        return ()
    named = ", ".join(f"pfn {pfn:#x} ({use})" for pfn, use in sorted(found.items())[:_MOST_NAMED])
    if len(found) > _MOST_NAMED:
        named += f" and {number(len(found) - _MOST_NAMED)} more"
    return (f"The core lacks memory that every dump should have: {named}. {_WHY}",)


def _absent(inspector: Inspector, address: int) -> int | None:
    """Return the pfn that an address is mapped to, if the core lacks that page."""
    prog = inspector.target.prog
    try:
        physical = PageTables(prog, vmcoreinfo.of_program(prog)).physical(address)
    except (FaultError, KeyError):
        return None
    try:
        prog.read(physical, 1, physical=True)
    except FaultError:
        return physical // PAGE_SIZE
    return None


def _use(inspector: Inspector, pfn: int) -> str:
    wanted = intersect([(pfn, pfn + 1)], inspector.memory_map.spanned)
    uses = [inspector.use_name(int(pages.use[0])) for pages in inspector.pages(wanted)]
    return uses[0] if uses else ""
