# SPDX-License-Identifier: GPL-2.0-only
"""Finds what a core lacks: pages that its dump level leaves out, and pages that it has lost."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from ..analysis.dump_levels import MAX_LEVEL
from ..errors import MISSING_MEMORY_HINT, PageInspectError, UsageError
from ..kernel.online import check_sections, max_sections
from ..layout import build_layout
from ..model import ranges
from ..model.arch import SECTION_PFNS
from ..model.memory_map import MemoryMap
from ..model.presence import Pfns, PfnSet, Presence, each_once, pfn_set
from ..model.provenance import Provenance
from ..model.ranges import Range
from ..owners.dump_fates import FATE, FATES, MOST_PFNS, DumpTally, LostOwner
from ..owners.table import KINDS
from ..report.audit import AuditReport, AuditRow, Extent, LostRow
from ..report.base import Coverage, coverage_of
from ..target.core_formats.presence import (
    DamagedCoreError,
    UnknownPresenceError,
    read_presence,
)
from ..target.open import Target
from ..target.vmcoreinfo import DAMAGED
from .fold import Fold
from .inspector import Inspector, inspect, inspector_of
from .lost_pages import core_of, presence_of
from .owner_finder import OwnerFinder, owner_finder

COMPOUND_INFO = "OFFSET(page.compound_info)"
"""A line of VMCOREINFO that makedumpfile before its commit f50c015 does not know.

Since Linux kernel commit d50569612c29 ("mm: rename the 'compound_head' field in the 'struct page'
to 'compound_info'") (in v7.1), it is in place of OFFSET(page.compound_head).
"""


def audit_file(
    opening: Callable[[], Target],
    core: Path | None,
    *,
    fold: Fold,
    dump_level: int | None = None,
) -> AuditReport:
    """Open a core and do the same as audit_core(), as far as what the core has allows it.

    `core` is its path; None if only the opened Target has it. If the kernel's memory map cannot be
    read, the pages that there were to dump count as memory. If the kernel cannot be opened or
    its layout cannot be found, the report has the lost pages without their uses. Raises
    PageInspectError; UnknownPresenceError if it cannot be found which pages the core has.
    """
    target = None
    try:
        target = opening()
        core = core or core_of(target)
        inspector, missing = _inspected(target)
    except UsageError:
        raise
    except PageInspectError as error:
        if core is None:
            raise
        return _without_uses(core, target, error, dump_level)
    return audit_core(inspector, fold=fold, dump_level=dump_level, missing=missing)


def audit_core(
    inspector: Inspector,
    *,
    fold: Fold,
    dump_level: int | None = None,
    missing: tuple[str, ...] = (),
) -> AuditReport:
    """Find which pages of memory the core has, lacks rightly, and has lost.

    `dump_level` is that of an ELF core, which does not have it; without it, everything is allowed
    to be absent that any level leaves out. `missing` are sentences on what of the memory map could
    not be read. Raises PageInspectError; UnknownPresenceError if the kernel is not read from a
    core.
    """
    presence = presence_of(inspector)
    level = _level(presence, dump_level)
    finder = owner_finder(inspector)
    edges = each_once(np.concatenate((finder.assigner(inspector.layout).edges, presence.edges)))
    spanned = inspector.memory_map.spanned
    total, unreadable = DumpTally(presence, level), 0

    def work(copy: Inspector, piece: Sequence[Range]) -> tuple[DumpTally, int]:
        return _tallied(finder, copy, piece, DumpTally(presence, level), edges)

    for part, lost_structs in fold(inspector, spanned, work):
        total.merge(part)
        unreadable += lost_structs
    lost = _lost_rows(inspector, finder, total.lost)
    coverage = coverage_of(
        inspector.target.provenance,
        inspector.layout,
        ranges.count(spanned),
        unreadable,
        (*missing, *finder.problems),
    )
    return AuditReport(
        inspector.target.provenance,
        inspector.layout,
        coverage,
        presence.form,
        level,
        presence.state,
        _rows(inspector, total),
        lost,
        tuple(_extents(presence, spanned, total.lost_pfns)),
        total.lost_pfns,
        dict(total.causes),
        total.first_tails if COMPOUND_INFO in inspector.target.vmcoreinfo else 0,
        presence.by_makedumpfile,
    )


def _inspected(target: Target) -> tuple[Inspector, tuple[str, ...]]:
    """Return the Inspector of a core, and sentences on what of its memory map is missing."""
    try:
        return inspect(target), ()
    except PageInspectError as error:
        path = core_of(target)
        if path is None:
            raise
        presence = read_presence(path)
        if not presence.dumpable.minus(presence.present):
            raise
        layout = build_layout(target.prog, target.vmcoreinfo)
        memory_map = MemoryMap(tuple(_plausible(presence.dumpable.ranges(), path)), ())
        why = f"The memory map of the kernel is missing: {error.message}."
        return inspector_of(target, layout, memory_map), (why,)


def _plausible(memory: list[Range], core: Path) -> list[Range]:
    """Return ranges of memory. Raises PageInspectError if the core is too small to describe it."""
    sections = (-(-end // SECTION_PFNS) - start // SECTION_PFNS for start, end in memory)
    check_sections(sum(sections), max_sections(core))
    return memory


def _without_uses(
    core: Path, target: Target | None, error: PageInspectError, dump_level: int | None
) -> AuditReport:
    """Return the report that the headers and bitmaps of a core allow.

    Raises `error` if no page is lost by them, or the file is not a core; DamagedCoreError if they
    are damaged.
    """
    try:
        presence = read_presence(core)
    except DamagedCoreError:
        raise
    except UnknownPresenceError:
        raise error from None
    lost = presence.kept.minus(presence.present)
    if not lost:
        if error.hint != MISSING_MEMORY_HINT:
            raise error
        raise PageInspectError(error.message, DAMAGED) from None
    level = _level(presence, dump_level)
    fates = [0] * len(FATES)
    fates[FATE["present"]] = len(presence.present)
    fates[FATE["undecided"]] = len(presence.dumpable) - len(presence.kept)
    fates[FATE["lost"]] = len(lost)
    pages, is_whole = len(presence.dumpable), presence.state == "whole"
    because = f"The uses of pages cannot be found: {error.message}."
    return AuditReport(
        Provenance("unknown", "core", "vmcoreinfo", error.message, is_whole=is_whole)
        if target is None
        else target.provenance,
        None,
        Coverage(pages, pages, of_whole=is_whole, missing=(because,)),
        presence.form,
        level,
        presence.state,
        (AuditRow("unreadable", "unreadable", tuple(fates)),),
        (LostRow("unreadable", "unreadable", "", len(lost), tuple(lost.first(MOST_PFNS))),),
        (),
        lost,
        {"cut_off": len(lost)},
    )


def _level(presence: Presence, given: int | None) -> int | None:
    if given is None:
        return presence.level
    if presence.level is not None:
        raise UsageError(
            f"the core has its dump level, {presence.level}, in its header",
            "leave out --dump-level",
        )
    if given > MAX_LEVEL:
        raise UsageError(f"there is no dump level {given}", f"levels are 0 to {MAX_LEVEL}")
    return given


def _tallied(
    finder: OwnerFinder,
    copy: Inspector,
    piece: Sequence[Range],
    tally: DumpTally,
    edges: Pfns,
) -> tuple[DumpTally, int]:
    unreadable = 0
    assigner = finder.assigner(copy.layout)
    assigner.edges = edges
    for pages, pieces in finder.walk(copy, piece, assigner, "dump"):
        unreadable += pages.unreadable
        tally.add(pages, pieces)
    return tally, unreadable


def _rows(inspector: Inspector, total: DumpTally) -> tuple[AuditRow, ...]:
    """Return the pages of each use and kind by fate, those with most pages first."""
    found: dict[tuple[int, int], list[int]] = {}
    for (use, kind, fate), n in total.counts.items():
        found.setdefault((use, kind), [0] * len(FATES))[fate] += n
    rows = (
        AuditRow(inspector.use_name(use), KINDS[kind].name, tuple(fates))
        for (use, kind), fates in found.items()
    )
    return tuple(sorted(rows, key=lambda row: (-row.pages, row.use, row.kind)))


def _lost_rows(
    inspector: Inspector, finder: OwnerFinder, lost: dict[tuple[int, int, int], LostOwner]
) -> tuple[LostRow, ...]:
    """Return the lost pages of each owner, those with most pages first."""
    found: dict[tuple[str, str, str], LostOwner] = {}
    for kind in sorted({kind for _, kind, _ in lost}):
        of_kind = [(use, key, owner) for (use, k, key), owner in lost.items() if k == kind]
        names = finder.names.names(KINDS[kind].name, [key for _, key, _ in of_kind])
        for (use, _, owner), name in zip(of_kind, names, strict=True):
            row = (inspector.use_name(use), KINDS[kind].name, name.name)
            same = found.setdefault(row, LostOwner())
            pfns = sorted((*same.pfns, *owner.pfns))
            same.pfns.clear()
            same.add(owner.pages, pfns)
    rows = (LostRow(*row, owner.pages, tuple(owner.pfns)) for row, owner in found.items())
    return tuple(sorted(rows, key=lambda row: (-row.pages, row.use, row.kind, row.name)))


def _extents(presence: Presence, spanned: Sequence[Range], lost: PfnSet) -> Iterator[Extent]:
    """Yield the ranges of memory that no part of the file covers."""
    every = np.array(spanned, np.int64).reshape(-1, 2)
    rest = pfn_set(every[:, 0], every[:, 1]).minus(presence.dumpable)
    below = lost.minus(presence.dumpable).below(rest.edges)
    counts = (below[1::2] - below[::2]).tolist()
    for (start, end), pages in zip(rest.ranges(), counts, strict=True):
        yield Extent(start, end, pages)
