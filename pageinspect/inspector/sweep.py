# SPDX-License-Identifier: GPL-2.0-only
"""Walks pages with their owners, and with what can be done with each of them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from drgn import FaultError

from ..analysis.contiguity import Grid, cut
from ..analysis.mobility import (
    REMEDIES,
    Integers,
    Mobility,
    MobilityRules,
    unknown_mobility,
)
from ..classify import Pages
from ..errors import PageInspectError
from ..kernel.folio_batches import read_batch_references
from ..kernel.owner_names.slab_caches import ReclaimableCaches
from ..kernel.pageblocks import read_pageblocks
from ..kernel.structures import MissingStructureError
from ..model.layout import PageLayout
from ..model.pageblocks import BatchReferences, Pageblocks
from ..model.presence import each_once
from ..model.ranges import Range
from ..owners.assign import Assigned, Assigner
from ..owners.table import NUMBER
from ..report.contiguity_counts import PlacedPages
from .inspector import Inspector
from .owner_finder import OwnerFinder, owner_finder

if TYPE_CHECKING:
    from ..classify.details import Detail

T = TypeVar("T")

_RECLAIM = REMEDIES.index("reclaim")
NO_BATCHES = BatchReferences(np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Swept(PlacedPages):
    """Ranges of pages that were walked, within blocks of the sweep's order."""

    pages: Pages
    references: Integers
    """References of the folio that nothing explains, without pins."""
    pins: Integers


class Sweep:
    """Walks pages of one kernel with their owners and mobility."""

    def __init__(self, inspector: Inspector, *, without_types: bool = False) -> None:
        """Read the kernel's structures. Raises PageInspectError.

        What is missing or damaged is reported in `problems`. Of a kernel without types, `classes`
        and `references` are 0 for all pages if the caller can do without them.
        """
        self.has_types = not inspector.layout.unavailable
        if not self.has_types and not without_types:
            raise PageInspectError(
                "contiguity is not available from VMCOREINFO alone",
                "give a file with this kernel's types: -s VMLINUX or --btf FILE",
            )
        self._missing: list[str] = []
        self.finder: OwnerFinder = owner_finder(inspector)
        self.pageblocks: Pageblocks | None = None
        self._batches = NO_BATCHES
        self._caches: ReclaimableCaches | None = None
        if self.has_types:
            self._read(inspector)

    def _read(self, inspector: Inspector) -> None:
        """Read what decides whether pages can be moved."""
        prog, layout = inspector.target.prog, inspector.layout
        found = self._or_none("pageblocks", lambda: read_pageblocks(prog))
        self.pageblocks = found
        batches = self._or_none("folio batches", lambda: read_batch_references(prog, layout))
        self._batches = batches or NO_BATCHES
        self._caches = self._or_none("slab caches", lambda: ReclaimableCaches(prog))
        for what, n in (
            ("pageblocks of memory sections", found.unreadable if found else 0),
            ("folio batches", self._batches.unreadable),
        ):
            if n:
                self._missing.append(f"{what}: {n} could not be read or are invalid")

    def _or_none(self, what: str, read: Callable[[], T]) -> T | None:
        try:
            return read()
        except (MissingStructureError, FaultError) as error:
            self._missing.append(f"{what}: {error}")
            return None

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences about structures and names that are missing or could not be read."""
        return (*(f"{text}." for text in self._missing), *self.finder.problems)

    def assigner(self, layout: PageLayout) -> Assigner:
        """Return an Assigner for a walk, which counts the pages that several kinds claim."""
        assigner, held = self.finder.assigner(layout), self._batches.pfns
        # Runs agree in their references, and the folios of batches have more.
        assigner.edges = each_once(np.concatenate((assigner.edges, held, held + 1)))
        return assigner

    def walk(
        self,
        copy: Inspector,
        wanted: Sequence[Range],
        grid: Grid,
        assigner: Assigner | None = None,
        *,
        cgroups: bool = False,
    ) -> Iterator[Swept]:
        """Yield the wanted pages, cut at the blocks of the grid; with `cgroups`, runs have one."""
        assigner = assigner or self.assigner(copy.layout)
        rules = MobilityRules(copy.layout, self._batches) if self.has_types else None
        detail: Detail = "owner"
        if self.has_types:
            detail = "charges" if cgroups else "references"
        for pages, pieces in self.finder.walk(copy, wanted, assigner, detail):
            yield self._swept(pages, pieces, rules, grid)

    def _swept(
        self, pages: Pages, pieces: Assigned, rules: MobilityRules | None, grid: Grid
    ) -> Swept:
        mobility = unknown_mobility(len(pages)) if rules is None else rules(pages)
        classes, remedies = mobility.classes[pieces.rows], mobility.remedies[pieces.rows]
        slabs = (pieces.kinds == NUMBER["slab"]) & (classes == Mobility.UNMOVABLE)
        if self._caches is not None and slabs.any():
            slabs[slabs] = self._caches.of(pieces.keys[slabs])
            classes[slabs], remedies[slabs] = Mobility.RECLAIMABLE, _RECLAIM
        parts = cut(pieces.starts, pieces.lengths, grid.order)
        rows = pieces.rows[parts.rows]
        return Swept(
            pages,
            rows,
            parts.starts,
            parts.lengths,
            pieces.kinds[parts.rows],
            pieces.keys[parts.rows],
            classes[parts.rows],
            remedies[parts.rows],
            grid.zones_of(pages.node[rows], pages.zone[rows], parts.starts),
            mobility.references[rows],
            mobility.pins[rows],
        )
