# SPDX-License-Identifier: GPL-2.0-only
"""Reports pages that a core should have and lacks, to commands that could not read something.

`audit` shows all of them; other commands point to it.
"""

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
from drgn import FaultError

from ..analysis.dump_levels import MAX_LEVEL, lost_pages
from ..model.arch import PAGE_SIZE
from ..model.presence import Presence
from ..model.ranges import intersect, merge
from ..report.base import Coverage
from ..target import vmcoreinfo
from ..target.core_formats.presence import UnknownPresenceError, read_presence
from ..target.open import Target, core_path
from ..target.page_tables import PageTables
from ..units import number
from .inspector import Inspector

_MOST_NAMED = 4


def presence_of(inspector: Inspector) -> Presence:
    """Return which pages the core has. Raises UnknownPresenceError if the kernel has no core."""
    path = core_of(inspector.target)
    if path is None:
        raise no_core()
    return read_presence(path)


def core_of(target: Target) -> Path | None:
    """Return the path of the core as the user gave it; None if the kernel has no core."""
    return (target.core or core_path(target)) if target.provenance.source == "core" else None


def no_core() -> UnknownPresenceError:
    """Return the error for a kernel that is not read from a core."""
    return UnknownPresenceError(
        "only a core can lack pages, and this kernel is not read from a core",
        "name a core: pageinspect audit CORE",
    )


def pointer(inspector: Inspector) -> str:
    """Return the sentence that points to `audit`."""
    option = inspector.target.provenance.option
    return f"The core lacks pages that it should have: see pageinspect audit {option}."


def pointed(inspector: Inspector, missing: Sequence[str]) -> tuple[str, ...]:
    """Return sentences on what is missing, with pointer() if the core has lost pages."""
    point = pointer(inspector)
    points = bool(missing) and point not in missing and _has_lost_pages(inspector)
    return (*missing, point) if points else tuple(missing)


def with_pointer(inspector: Inspector, coverage: Coverage) -> Coverage:
    """Return a Coverage that points to `audit` if something is missing from the core."""
    missing = pointed(inspector, coverage.missing)
    if coverage.unreadable and not missing and _has_lost_pages(inspector):
        missing = (pointer(inspector),)
    return replace(coverage, missing=missing)


def _has_lost_pages(inspector: Inspector) -> bool:
    """Return whether the core has lost any page; memory is walked once at most, to the first one.

    False if the core is cut off: every report of it has a note about that.
    """
    session = inspector.session
    if session.has_lost_pages is None:
        session.has_lost_pages = _find_lost_page(inspector)
    return session.has_lost_pages


def _find_lost_page(inspector: Inspector) -> bool:
    presence = _presence_of_whole(inspector)
    if presence is None:
        return False
    if presence.kept.minus(presence.present):
        return True
    with closing(_lost_runs(inspector, presence)) as found:
        return next(found, None) is not None


def described(inspector: Inspector, addresses: Iterable[int]) -> tuple[str, ...]:
    """Return sentences on lost pages at kernel addresses that could not be read."""
    pfns = {pfn for address in addresses if (pfn := _pfn(inspector, address)) is not None}
    if not pfns:
        return ()
    presence = _presence_of_whole(inspector)
    lost = {} if presence is None else dict(sorted(_lost_runs(inspector, presence, pfns)))
    if not lost:
        return ()
    named = ", ".join(f"pfn {pfn:#x} ({use})" for pfn, use in list(lost.items())[:_MOST_NAMED])
    if len(lost) > _MOST_NAMED:
        named += f" and {number(len(lost) - _MOST_NAMED)} more"
    return (f"Pages are missing: {named}.", pointer(inspector))


def _presence_of_whole(inspector: Inspector) -> Presence | None:
    """Return which pages the core has; None if it is cut off, or that is unknown."""
    try:
        return presence_of(inspector) if inspector.target.provenance.is_whole else None
    except UnknownPresenceError:
        return None


def _lost_runs(
    inspector: Inspector, presence: Presence, pfns: Iterable[int] | None = None
) -> Generator[tuple[int, str], None, None]:
    """Yield first pfns and uses of runs of lost pages, of all or some."""
    level = MAX_LEVEL if presence.level is None else presence.level
    wanted = presence.dumpable.minus(presence.present).ranges()
    if pfns is not None:
        wanted = intersect(wanted, merge((pfn, pfn + 1) for pfn in pfns))
    wanted = intersect(wanted, inspector.memory_map.spanned)
    for pages in inspector.sections_in_runs(wanted, "dump", presence.edges) if wanted else ():
        found = lost_pages(pages, presence, level)
        if pages.batch.wanted is not None:
            found &= pages.batch.wanted
        for row in np.flatnonzero(found).tolist():
            yield int(pages.pfns[row]), inspector.use_name(int(pages.use[row]))


def _pfn(inspector: Inspector, address: int) -> int | None:
    """Return the pfn that a kernel address is mapped to; None if its page tables are missing."""
    prog = inspector.target.prog
    try:
        tables = PageTables(prog, vmcoreinfo.of_program(prog))
        return tables.physical(address) // PAGE_SIZE
    except (FaultError, KeyError):
        return None
