# SPDX-License-Identifier: GPL-2.0-only
"""Finds the pages that are in the way of a huge page, of CMA, or of taking memory offline."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat

import numpy as np
import numpy.typing as npt

from ..analysis.contiguity import ABSENT, BlockPages, Grid
from ..analysis.mobility import (
    OUTCOMES,
    REMEDIES,
    SKIPPED,
    UNDECIDED,
    Classes,
    Integers,
    Mobility,
    when_offlining,
)
from ..classify import use_name, uses_of
from ..classify.words import HEAD_REFCOUNT
from ..errors import PageInspectError, UsageError, did_you_mean
from ..kernel.hugetlb_pools import movable_gigantic_pages
from ..kernel.memory_blocks import read_memory_blocks
from ..model.memory_map import Zone
from ..model.range_text import asked
from ..model.ranges import Range, count, intersect, merge
from ..owners.table import KINDS
from ..report.base import coverage_of
from ..report.contiguity import GIGANTIC_ORDER, HUGE_ORDER
from ..report.obstacles import BlockCounts, ObstacleRow, ObstaclesReport
from .fold import Fold
from .inspector import Inspector
from .lost_pages import with_pointer
from .sweep import Sweep, Swept

PAGES = {"hugepage": HUGE_ORDER, "gigantic": GIGANTIC_ORDER}
"""The orders of huge pages by name."""
_MOST_NAMED = 8
"""Ranges of memory blocks that a hint names."""
_MOST_DIGITS = 18
_MOVABLE_ZONE = "Movable"
_FORMS = (*PAGES, "cma", "offline:N", "pfn:RANGE")


@dataclass(frozen=True, slots=True, eq=False)
class _Pages:
    """Ranges of pages in the way, sorted by pfn; references and pins are those of the folio."""

    blocks: Integers
    starts: Integers
    lengths: Integers
    kinds: npt.NDArray[np.int16]
    keys: npt.NDArray[np.uint64]
    uses: npt.NDArray[np.uint16]
    orders: npt.NDArray[np.uint8]
    refcounts: npt.NDArray[np.int32]
    references: Integers
    pins: Integers
    classes: Classes
    remedies: Classes


@dataclass(slots=True)
class _Found:
    pages: BlockPages
    parts: list[_Pages] = field(default_factory=list)
    present: Integers = field(default_factory=lambda: np.zeros(len(OUTCOMES), np.int64))
    """Pages by OUTCOMES."""
    zones: set[int] = field(default_factory=set)
    """The index of each zone that they are in."""
    unreadable: int = 0

    def merge(self, other: "_Found") -> None:
        self.pages.merge(other.pages)
        self.parts += other.parts
        self.present += other.present
        self.zones |= other.zones
        self.unreadable += other.unreadable


def find_obstacles(
    inspector: Inspector,
    wanted_for: str,
    *,
    fold: Fold,
    top: int | None = None,
    most: int | None = None,
) -> ObstaclesReport:
    """Find the pages in the way of what is asked for: hugepage, cma, offline:3 and others.

    `top` is the number of ranges of pages to show, and `most` of those to name; None is all. Raises
    UsageError for another text, and PageInspectError.
    """
    _check(wanted_for)
    sweep = Sweep(inspector)
    order = PAGES.get(wanted_for)
    ranges = None if order is not None else _ranges(inspector, sweep, wanted_for)
    spanned = inspector.memory_map.spanned
    wanted = [*spanned] if ranges is None else intersect([*spanned], ranges)
    zones, judge, left_out = _rules(inspector, wanted_for)
    grid = Grid(zones, HUGE_ORDER if order is None else order, spanned)

    def work(copy: Inspector, piece: Sequence[Range]) -> _Found:
        found = _Found(BlockPages(grid))
        for swept in sweep.walk(copy, piece, grid):
            _add(found, judge(swept), grid, every=order is None)
        return found

    total = _Found(BlockPages(grid))
    for part in fold(inspector, wanted, work):
        total.merge(part)
    blocks = None if order is None else _block_counts(total.pages)
    rows = _rows(inspector, sweep, total, grid, ranked=order is not None, most=most)
    missing = tuple(dict.fromkeys(sweep.problems))
    present = count(wanted)
    coverage = coverage_of(
        inspector.target.provenance, inspector.layout, present, total.unreadable, missing
    )
    return ObstaclesReport(
        inspector.target.provenance,
        inspector.layout,
        with_pointer(inspector, coverage),
        wanted_for,
        tuple(total.present.tolist()),
        0 if ranges is None else count(ranges) - present,
        rows,
        len(total.zones),
        order,
        blocks,
        top,
        sum(len(part.starts) for part in total.parts) - len(rows),
        left_out,
    )


def _rules(
    inspector: Inspector, wanted_for: str
) -> tuple[tuple[Zone, ...], Callable[[Swept], Swept], str]:
    """Return the zones that may give what is asked for, and what else holds for it.

    That is a function that corrects the classes of pages, and a sentence on zones that are left
    out, empty if there are none.
    """
    zones = inspector.memory_map.zones
    if wanted_for.startswith("offline:"):
        return zones, _offlined, ""
    if wanted_for != "gigantic":
        return zones, lambda swept: swept, ""
    allowed = movable_gigantic_pages(inspector.target.prog)
    # The kernels that have the setting also move smaller huge pages.
    judge = _without_huge_pages if allowed is None else lambda swept: swept
    kept = tuple(zone for zone in zones if zone.name != _MOVABLE_ZONE or allowed)
    if kept == zones:
        return zones, judge, ""
    why = "vm.movable_gigantic_pages is 0" if allowed is False else "this kernel never takes it"
    return kept, judge, f"ZONE_MOVABLE is left out: {why}."


def _check(text: str) -> None:
    name, colon, value = text.partition(":")
    plain = text in PAGES or text == "cma"
    if not plain and not (colon and value and name in ("offline", "pfn")):
        hint = did_you_mean(text, _FORMS, f"choose from {', '.join(_FORMS)}")
        if text[:1].isdecimal():
            hint = "2 MiB is hugepage, 1 GiB is gigantic"
        raise UsageError(f"{text!r} is not a purpose", hint)


def _ranges(inspector: Inspector, sweep: Sweep, text: str) -> list[Range]:
    """Return the pfns that must become free. Raises UsageError and PageInspectError."""
    name, _, value = text.partition(":")
    if name == "cma":
        return _cma(sweep)
    if name == "pfn":
        inspector.ranges(value)
        return merge(asked(value, inspector.memory_map, inspector.layout.page_shift))
    if not (value.isascii() and value.isdecimal() and len(value) <= _MOST_DIGITS):
        raise UsageError(
            f"{value!r} is not the number of a memory block", "give N of memoryN: offline:3"
        )
    return [_memory_block(inspector, int(value))]


def _memory_block(inspector: Inspector, number: int) -> Range:
    blocks = read_memory_blocks(inspector.target.prog)
    found = blocks.pfns(number)
    if found is None:
        known = [f"{a}-{b - 1}" if b - a > 1 else f"{a}" for a, b in blocks.numbers[:_MOST_NAMED]]
        more = ["others"] if len(blocks.numbers) > _MOST_NAMED else []
        raise UsageError(
            f"this machine has no memory block {number}", f"it has: {', '.join([*known, *more])}"
        )
    return found


def _cma(sweep: Sweep) -> list[Range]:
    blocks = sweep.pageblocks
    if blocks is None:
        raise PageInspectError("pageblocks of this kernel cannot be read", "see the other remarks")
    if "cma" not in blocks.names:
        raise PageInspectError(
            "this kernel has no CMA", "it was built without CONFIG_CMA: nothing allocates from it"
        )
    sections, places = np.nonzero(blocks.types == blocks.names.index("cma"))
    starts = blocks.firsts[sections] + (places << blocks.order)
    if not len(starts):
        raise PageInspectError(
            "this kernel has no CMA area", "the boot option cma= or hugetlb_cma= makes one"
        )
    return merge((start, start + (1 << blocks.order)) for start in starts.tolist())


def _without_huge_pages(swept: Swept) -> Swept:
    """Return the same for a kernel that moves no huge pages to make a larger one."""
    of_uses = uses_of(swept.pages.layout, "hugetlb")[swept.pages.use[swept.rows]]
    return replace(
        swept,
        classes=np.where(of_uses, np.uint8(Mobility.UNMOVABLE), swept.classes),
        remedies=np.where(of_uses, np.uint8(REMEDIES.index("shrink pool")), swept.remedies),
    )


def _offlined(swept: Swept) -> Swept:
    """Return the same with what becomes of each page when its memory is taken offline."""
    unmovable = swept.classes == Mobility.UNMOVABLE
    outcomes = when_offlining(swept.pages)[swept.rows]
    return replace(swept, classes=np.where(unmovable, outcomes, swept.classes))


def _add(found: _Found, swept: Swept, grid: Grid, *, every: bool) -> None:
    """Add what was walked; with `every`, also pages of no zone, and without counts of blocks."""
    found.unreadable += swept.pages.unreadable
    found.present += np.bincount(swept.classes, swept.lengths, len(OUTCOMES)).astype(np.int64)
    found.zones |= set(np.unique(swept.zones).tolist()) - {-1}
    way = (swept.classes > Mobility.MOVABLE) & (swept.classes != SKIPPED)
    blocks = np.full(len(swept.starts), -1, np.int64)
    if not every:
        in_zone = swept.zones >= 0
        blocks[in_zone] = grid.blocks(swept.zones[in_zone], swept.starts[in_zone])
        found.pages.add(blocks[in_zone], swept.classes[in_zone], swept.lengths[in_zone])
        way &= in_zone
    some, pages = swept.where(way), swept.pages
    found.parts.append(
        _joined(
            _Pages(
                *(blocks[way], some.starts, some.lengths, some.kinds, some.keys),
                pages.use[some.rows],
                pages.folio_order[some.rows],
                pages.read(HEAD_REFCOUNT)[some.rows],
                *(some.references, some.pins, some.classes, some.remedies),
            )
        )
    )


def _joined(pages: _Pages) -> _Pages:
    """Join adjacent ranges that agree in all else."""
    if not len(pages.starts):
        return pages
    begins = np.ones(len(pages.starts), np.bool_)
    begins[1:] = pages.starts[1:] != (pages.starts + pages.lengths)[:-1]
    for name in _Pages.__slots__:
        if name not in ("starts", "lengths"):
            column = getattr(pages, name)
            begins[1:] |= column[1:] != column[:-1]
    at = np.flatnonzero(begins)
    columns = {name: getattr(pages, name)[at] for name in _Pages.__slots__}
    columns["lengths"] = np.add.reduceat(pages.lengths, at)
    return _Pages(**columns)


def _block_counts(pages: BlockPages) -> BlockCounts:
    """Return the number of blocks by state; one that two zones share is one reserved block."""
    states = pages.states
    there = states != ABSENT
    free, movable, reclaimable, unmovable, reserved = (
        int(np.count_nonzero(states == state)) for state in range(ABSENT)
    )
    # A zone that has only a part of the block counts the rest as reserved.
    parts = pages.grid.starts(np.flatnonzero(there))
    _, zones = np.unique(parts, return_counts=True)
    reserved -= int((zones - 1).sum())
    shared = int(np.count_nonzero(zones > 1))
    return BlockCounts(free, movable, reclaimable, unmovable, reserved, shared)


def _rows(
    inspector: Inspector,
    sweep: Sweep,
    total: _Found,
    grid: Grid,
    *,
    ranked: bool,
    most: int | None,
) -> tuple[ObstacleRow, ...]:
    """Return the first pages in the way; if ranked, of the blocks with fewest of them first."""
    if not total.parts:
        return ()
    pages = _first(total, ranked=ranked, most=most)
    starts = grid.starts(pages.blocks).tolist() if ranked else repeat(None)
    uses, use_rows = np.unique(pages.uses, return_inverse=True)
    use_names = [use_name(inspector.layout, use) for use in uses.tolist()]
    owners, owner_rows = _owners(sweep, pages.kinds, pages.keys)
    return tuple(
        map(
            ObstacleRow,
            starts,
            pages.starts.tolist(),
            (pages.starts + pages.lengths).tolist(),
            map(use_names.__getitem__, use_rows.tolist()),
            *(map([owner[i] for owner in owners].__getitem__, owner_rows) for i in (0, 1)),
            *(getattr(pages, name).tolist() for name in ("orders", "refcounts", "pins")),
            *(getattr(pages, name).tolist() for name in ("references", "classes")),
            map(REMEDIES.__getitem__, pages.remedies.tolist()),
        )
    )


def _owners(
    sweep: Sweep, kinds: npt.NDArray[np.int16], keys: npt.NDArray[np.uint64]
) -> tuple[list[tuple[str, str]], list[int]]:
    """Return the kind and name of each owner, and which of these each row belongs to."""
    owners: list[tuple[str, str]] = []
    rows = np.empty(len(kinds), np.int64)
    for number in np.unique(kinds).tolist():
        of_kind = kinds == number
        of_owners, rows_of_kind = np.unique(keys[of_kind], return_inverse=True)
        rows[of_kind] = rows_of_kind + len(owners)
        kind = KINDS[number].name
        found = sweep.finder.names.names(kind, of_owners.tolist())
        owners += [(kind, name.name) for name in found]
    return owners, rows.tolist()


def _first(total: _Found, *, ranked: bool, most: int | None) -> _Pages:
    """Return the pages in the way in order, the first `most`."""
    pages = _Pages(
        **{n: np.concatenate([getattr(part, n) for part in total.parts]) for n in _Pages.__slots__}
    )
    by_block = _by_block(pages, total.pages) if ranked else None
    unsure = pages.classes == UNDECIDED
    order = np.lexsort((pages.starts, unsure)) if by_block is None else by_block
    return _Pages(**{name: getattr(pages, name)[order[:most]] for name in _Pages.__slots__})


def _by_block(pages: _Pages, of_blocks: BlockPages) -> Integers:
    """Return the order by state of the block and by the number of pages in the way in it."""
    counts = of_blocks.counts[:, Mobility.RECLAIMABLE :].sum(axis=1, dtype=np.int64)
    reserved = of_blocks.states == Mobility.RESERVED
    order: Integers = np.lexsort(
        (pages.starts, pages.blocks, counts[pages.blocks], reserved[pages.blocks])
    )
    return order
