# SPDX-License-Identifier: GPL-2.0-only
"""Finds what a core lacks: pages that its dump level leaves out, and pages that it has lost."""

from collections.abc import Iterator, Sequence

import numpy as np

from ..analysis.dump_levels import MAX_LEVEL
from ..classify.batches import each_once
from ..errors import Exit, PageInspectError, UsageError
from ..model import ranges
from ..model.presence import Pfns, PfnSet, Presence, pfn_set
from ..model.ranges import Range
from ..owners.dump_fates import FATES, DumpTally, LostOwner
from ..owners.table import KINDS
from ..report.audit import AuditReport, AuditRow, Extent, LostRow
from ..report.base import coverage_of
from ..report.losses import remedies
from ..target.core_formats.presence import read_presence
from ..target.open import Target
from ..units import counted, number
from .fold import Fold
from .inspector import Inspector, inspect
from .lost_pages import core_of, presence_of
from .owner_finder import OwnerFinder, owner_finder


class LostMemoryError(PageInspectError):
    """A core has lost pages, and the kernel's memory map is among them."""

    exit_code = Exit.FINDING


COMPOUND_INFO = "OFFSET(page.compound_info)"
"""A line of VMCOREINFO that makedumpfile before its commit f50c015 does not know.

Since Linux kernel commit d50569612c29 ("mm: rename the 'compound_head' field in the 'struct page'
to 'compound_info'") (in v7.1), it is in place of OFFSET(page.compound_head).
"""


def audit_core(inspector: Inspector, *, fold: Fold, dump_level: int | None = None) -> AuditReport:
    """Find which pages of memory the core has, lacks rightly, and has lost.

    `dump_level` is that of an ELF core, which does not have it; without it, everything is allowed
    to be absent that any level leaves out. Raises PageInspectError; UnknownPresenceError if the
    kernel is not read from a core.
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
        finder.problems,
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
        tuple(total.lost_pfns.ranges()),
        dict(total.causes),
        total.first_tails if COMPOUND_INFO in inspector.target.vmcoreinfo else 0,
    )


def inspect_core(target: Target) -> Inspector:
    """Return the Inspector of a core to audit.

    Raises PageInspectError; LostMemoryError if the core lacks the kernel's memory map because it is
    cut off or incomplete: then the uses of the lost pages cannot be found.
    """
    try:
        return inspect(target)
    except PageInspectError as error:
        path = core_of(target)
        presence = None if target.provenance.is_whole or path is None else read_presence(path)
        lost = 0 if presence is None else len(presence.kept.minus(presence.present))
        if presence is None or not lost:
            raise
        (remedy,) = remedies({"cut_off": lost}, presence.state, presence.level, 0)
        raise LostMemoryError(
            f"{path} has lost {counted(lost, 'page')} of {number(len(presence.kept))}, and their "
            f"uses cannot be found: {error.message}",
            remedy,
        ) from None


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
