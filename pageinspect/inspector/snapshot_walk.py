# SPDX-License-Identifier: GPL-2.0-only
"""The walk of a snapshot: one pass over memory for all tables that need struct pages."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from ..analysis.contiguity import BlockPages, Grid
from ..analysis.mobility import Integers
from ..analysis.page_runs import PageRuns, joined, page_runs
from ..analysis.totals import TypeTally, UseTally
from ..classify.batches import grouped
from ..classify.uses import USE_CODES
from ..model.pageblocks import UNKNOWN
from ..model.ranges import Range, merge
from ..owners.assign import OwnerTally
from ..owners.table import KINDS
from .fold import Fold
from .inspector import Inspector
from .owner_walk import TRIES, are_idle
from .sweep import Sweep, Swept

_UNREADABLE = -1


class RunColumns(NamedTuple):
    """The columns of PageRuns in a walk, one entry per run."""

    use: npt.NDArray[np.uint16]
    code: npt.NDArray[np.uint16]
    zone: npt.NDArray[np.int16]
    """The number in page flags, -1 if the struct page could not be read; `node` as well."""
    node: npt.NDArray[np.int32]
    migratetype: npt.NDArray[np.uint8]
    freeing: npt.NDArray[np.bool_]
    mobility: npt.NDArray[np.uint8]
    remedy: npt.NDArray[np.uint8]
    kind: npt.NDArray[np.int16]
    key: npt.NDArray[np.uint64]


class BlockUses:
    """The pages of each block of a Grid by use."""

    def __init__(self) -> None:
        self.parts: list[tuple[Integers, Integers]] = []

    def add(self, blocks: Integers, uses: npt.NDArray[np.uint16], lengths: Integers) -> None:
        """Add ranges of pages, each within one block."""
        keys, at = grouped(blocks * USE_CODES + uses)
        self.parts.append((keys, np.bincount(at, lengths, len(keys)).astype(np.int64)))

    def merge(self, other: "BlockUses") -> None:
        """Add the pages of another part of the walk."""
        self.parts += other.parts

    def sums(self) -> tuple[Integers, Integers, Integers]:
        """Return block, use and pages, sorted by block and use."""
        empty = [np.empty(0, np.int64)]
        parts, pages = (np.concatenate(empty + [part[i] for part in self.parts]) for i in (0, 1))
        keys, at = grouped(parts)
        sums = np.bincount(at, pages, len(keys)).astype(np.int64)
        return keys // USE_CODES, keys % USE_CODES, sums


@dataclass(slots=True)
class Walked:
    """What a walk, or one piece of it, has found."""

    blocks: BlockPages
    types: TypeTally
    uses: UseTally
    owned: OwnerTally = field(default_factory=OwnerTally)
    of_blocks: BlockUses = field(default_factory=BlockUses)
    parts: list[PageRuns] = field(default_factory=list)
    idle: list[Range] = field(default_factory=list)
    """Pages of use idle without an owner that were left out."""
    unreadable: int = 0

    def add(self, other: "Walked") -> None:
        """Add the pages that another walk, or piece of one, has found."""
        self.blocks.merge(other.blocks)
        self.of_blocks.merge(other.of_blocks)
        self.parts += other.parts
        self.idle += other.idle

    def merge(self, other: "Walked") -> None:
        """Add what another piece of the same walk has found."""
        self.add(other)
        self.types.merge(other.types)
        self.uses.merge(other.uses)
        self.owned.merge(other.owned)
        self.unreadable += other.unreadable

    def by_kind(self) -> dict[str, int]:
        """Return the number of pages by kind of owner."""
        sums = np.zeros(len(KINDS), np.int64)
        for part in self.parts:
            np.add.at(sums, RunColumns(*part.columns).kind, part.lengths)
        return {kind.name: n for kind, n in zip(KINDS, sums.tolist(), strict=True) if n}

    def runs(self) -> tuple[PageRuns, RunColumns]:
        """Return all runs, and their columns by name."""
        runs = joined(self.parts)
        return runs, RunColumns(*runs.columns)


@dataclass(frozen=True, slots=True)
class SnapshotWalk:
    """Walks all pages of one kernel."""

    sweep: Sweep
    grid: Grid
    fold: Fold

    def walked(self, inspector: Inspector) -> Walked:
        """Walk the pages.

        On a running kernel, idle pages without an owner are read again, as OwnerWalk does.
        """
        tries = TRIES if inspector.target.provenance.changing else 0
        total = self._walked(inspector, inspector.memory_map.spanned, hold=tries > 0)
        while total.idle:
            tries -= 1
            left, total.idle = merge(total.idle), []
            total.add(self._walked(inspector.refreshed(), left, hold=tries > 0))
        return total

    def _walked(self, inspector: Inspector, wanted: Sequence[Range], *, hold: bool) -> Walked:
        layout = inspector.layout

        def fresh() -> Walked:
            return Walked(BlockPages(self.grid), TypeTally(layout), UseTally(layout))

        def work(copy: Inspector, piece: Sequence[Range]) -> Walked:
            found, assigner = fresh(), self.sweep.assigner(copy.layout)
            for swept in self.sweep.walk(copy, piece, self.grid, assigner):
                self._add(found, swept, hold=hold)
            found.owned.merge(assigner.tally)
            found.parts = [joined(found.parts)] if found.parts else []
            return found

        total = fresh()
        for part in self.fold(inspector, [*wanted], work):
            total.merge(part)
        return total

    def _add(self, found: Walked, swept: Swept, *, hold: bool) -> None:
        pages = swept.pages
        found.types.add(pages)
        found.uses.add(pages)
        found.unreadable += pages.unreadable
        if hold:
            idle = are_idle(pages, swept.rows, swept.kinds)
            starts, ends = swept.starts[idle], swept.starts[idle] + swept.lengths[idle]
            found.idle += zip(starts.tolist(), ends.tolist(), strict=True)
            swept = swept.where(~idle)
        self._add_blocks(found, swept.where(swept.zones >= 0))
        found.parts.append(self._runs(swept))

    def _add_blocks(self, found: Walked, swept: Swept) -> None:
        blocks = self.grid.blocks(swept.zones, swept.starts)
        found.blocks.add(blocks, swept.classes, swept.lengths)
        found.of_blocks.add(blocks, swept.pages.use[swept.rows], swept.lengths)

    def _runs(self, swept: Swept) -> PageRuns:
        pages, rows, blocks = swept.pages, swept.rows, self.sweep.pageblocks
        zone, node = pages.zone[rows].astype(np.int16), pages.node[rows].astype(np.int32)
        readable = pages.batch.readable
        if readable is not None:
            zone[~readable[rows]] = node[~readable[rows]] = _UNREADABLE
        types = np.full(len(rows), UNKNOWN, np.uint8) if blocks is None else blocks.of(swept.starts)
        columns = RunColumns(
            pages.use[rows],
            pages.code[rows],
            zone,
            node,
            types,
            pages.freeing[rows],
            swept.classes,
            swept.remedies,
            swept.kinds,
            swept.keys,
        )
        return page_runs(swept.starts, swept.lengths, pages.order[rows], pages.head[rows], columns)
