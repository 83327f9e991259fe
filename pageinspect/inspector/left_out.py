"""Names what a dump should have and has not: where a read of the kernel's own memory fails.

A dump leaves out pages by what they are for (makedumpfile -d): zeros, caches, user memory, free
pages. The kernel's own it has at every level, but for those that a makedumpfile took for others
which does not know how this kernel marks them.
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
"""Uses of pages that no level leaves out."""

_MOST_NAMED = 4
_WHY = (
    "A makedumpfile that does not know this kernel's page types takes such pages for user memory: "
    "take the dump again with a newer one, or without level 8 (-d 23)."
)


def missing(inspector: Inspector, addresses: Iterable[int]) -> tuple[str, ...]:
    """Return sentences on the pages of a core that should hold these addresses of the kernel.

    None on those that the core has, or may have left out, or lacks as all behind where it is cut
    off, which a note says.
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
    """Return the pfn that an address is mapped to, where the core lacks the page."""
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
