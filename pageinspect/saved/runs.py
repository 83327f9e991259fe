# SPDX-License-Identifier: GPL-2.0-only
"""The runs of a snapshot as rows of pages that can be counted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from ..analysis.comparable import damage_of
from ..analysis.mobility import MOBILITY_NAMES, REMEDIES, Classes
from ..classify import Code
from ..classify.batches import Mask, Pfns
from ..classify.columns import ramp
from ..classify.uses import USE
from ..model.arch import SECTION_PFNS
from ..model.layout import PageLayout
from ..model.pageblocks import UNKNOWN, Pageblocks
from ..model.presence import each_once
from ..model.ranges import Range
from ..model.saved_kernel import SavedKernel
from ..model.snapshot import Names, SnapshotTable
from .kernel import (
    SECTION_ORDER,
    UNTYPED_CODES,
    damaged,
    type_codes,
    unknown_name,
    use_codes,
    zone_number,
)

NO_MOBILITY = len(MOBILITY_NAMES)
"""In place of a Mobility: the kernel's types were not available."""
_MOST_ORDER = 31


@dataclass(frozen=True, eq=False)
class SavedRuns:
    """Runs of pages of a snapshot, (n,) arrays in order of pfn: CountedPages."""

    layout: PageLayout
    pfns: Pfns
    lengths: Pfns
    folios: Pfns
    use: npt.NDArray[np.uint16]
    code: npt.NDArray[np.uint16]
    order: npt.NDArray[np.uint8]
    zone: npt.NDArray[np.uint8]
    node: npt.NDArray[np.uint16]
    freeing: Mask
    migratetypes: npt.NDArray[np.uint8]
    """Numbers of migratetypes, or UNKNOWN."""
    mobility: Classes
    """A Mobility, or NO_MOBILITY."""
    remedies: Classes
    owners: npt.NDArray[np.int64]
    """Rows of the table of owners."""

    def __len__(self) -> int:
        return len(self.pfns)

    @property
    def wanted(self) -> None:
        """None: all pages are wanted. Those that are not are left out by within()."""
        return None

    @cached_property
    def readable(self) -> Mask:
        """Whether the struct pages could be read."""
        return self.code != Code.UNREADABLE

    @property
    def unreadable(self) -> int:
        """The number of pages whose struct page could not be read."""
        return self.count(~self.readable)

    def count(self, rows: Mask) -> int:
        """Return how many pages there are in these rows."""
        return int(self.lengths[rows].sum())

    @property
    def ends(self) -> Pfns:
        """The end of each run, exclusive."""
        return self.pfns + self.lengths

    @property
    def spanned(self) -> list[Range]:
        """The pfns of all runs."""
        begins = np.ones(len(self), np.bool_)
        begins[1:] = self.pfns[1:] != self.ends[:-1]
        last = np.append(begins[1:], values=True)[: len(begins)]
        return list(zip(self.pfns[begins].tolist(), self.ends[last].tolist(), strict=True))

    def within(self, wanted: Sequence[Range]) -> "SavedRuns":
        """Return the runs in these sorted disjoint ranges, cut at their ends.

        Folios of a part of a run begin at multiples of their size or, if the run has as many folios
        as pages, at each page; else no folio begins in the run.
        """
        bounds = np.array(wanted, np.int64).reshape(-1, 2)
        first = np.searchsorted(self.ends, bounds[:, 0], "right")
        n = np.searchsorted(self.pfns, bounds[:, 1], "left") - first
        rows = np.repeat(first, n) + ramp(n)
        starts = np.maximum(self.pfns[rows], np.repeat(bounds[:, 0], n))
        ends = np.minimum(self.ends[rows], np.repeat(bounds[:, 1], n))
        folios, order = self.folios[rows], self.order[rows]
        aligned = folios == _aligned(self.pfns[rows], self.ends[rows], order)
        each = np.where(folios == self.lengths[rows], ends - starts, 0)
        columns = {
            field.name: getattr(self, field.name)[rows]
            for field in fields(self)
            if field.name != "layout"
        }
        columns |= {
            "pfns": starts,
            "lengths": ends - starts,
            "folios": np.where(aligned, _aligned(starts, ends, order), each),
        }
        return replace(self, **columns)

    def where(self, rows: Mask) -> "SavedRuns":
        """Return some of the runs."""
        names = (field.name for field in fields(self) if field.name != "layout")
        return replace(self, **{name: getattr(self, name)[rows] for name in names})

    def pageblocks(self, order: int, names: tuple[str, ...]) -> Pageblocks:
        """Return the migratetypes of the pageblocks with pages, of 1 << order pages."""
        known = self.migratetypes != UNKNOWN
        pfns, ends, types = self.pfns[known], self.ends[known], self.migratetypes[known]
        first = pfns >> order
        n = ((ends - 1) >> order) - first + 1
        blocks = np.repeat(first, n) + ramp(n)
        sections = blocks >> SECTION_ORDER - order
        firsts = each_once(sections)
        width = SECTION_PFNS >> order
        found = np.full((len(firsts), width), UNKNOWN, np.uint8)
        found[np.searchsorted(firsts, sections), blocks % width] = np.repeat(types, n)
        return Pageblocks(order, names, firsts << SECTION_ORDER, found)


def _aligned(starts: Pfns, ends: Pfns, orders: npt.NDArray[np.uint8]) -> Pfns:
    """Return how many multiples of 1 << order are in each range."""
    shift = orders.astype(np.int64)
    more = (np.int64(1) << shift) - 1
    found: Pfns = ((ends + more) >> shift) - ((starts + more) >> shift)
    return found


def runs_of_table(
    table: SnapshotTable, kernel: SavedKernel, layout: PageLayout, owners: Pfns, spanned: int
) -> SavedRuns:
    """Return the runs of a table; `owners` are the ids of owners by row, sorted and distinct.

    `spanned` are the pages that the runs must have together.

    Raises PageInspectError for a damaged table, and for names that this version does not know.
    """
    damage = "the table runs is empty" if not len(table) else damage_of(table, spanned)
    if damage:
        raise damaged(damage)
    types = type_codes(layout)
    code = _codes(table, "type", {**types, "untyped": Code.RESET}.get, np.uint16)
    of_words = _codes(table, "untyped", UNTYPED_CODES.get, np.uint16, Code.RESET)
    code = np.where(code == Code.RESET, of_words, code)
    use = _codes(table, "use", use_codes(layout).get, np.uint16)
    for page_type in layout.scheme.types:
        # The use of such pages is their type, though it has the name of another use.
        if page_type.name in USE and page_type.name != "buddy":
            of_type = (use == USE[page_type.name]) & (code == types[page_type.name])
            use[of_type] = code[of_type]
    migratetypes = _numbers(kernel.migratetypes).get
    nodes = np.ma.filled(np.ma.asarray(table["node"]), 0)
    ids = np.asarray(table["owner"], np.int64)
    rows = np.minimum(np.searchsorted(owners, ids), max(len(owners) - 1, 0))
    runs = SavedRuns(
        layout=layout,
        pfns=np.asarray(table["pfn"], np.int64),
        lengths=np.asarray(table["pages"], np.int64),
        folios=np.asarray(table["folios"], np.int64),
        use=use,
        code=code,
        order=np.asarray(table["order"], np.uint8),
        zone=_codes(table, "zone", partial(zone_number, kernel), np.uint8, 0),
        node=nodes.astype(np.uint16),
        freeing=np.asarray(table["freeing"], np.bool_),
        migratetypes=_codes(table, "migratetype", migratetypes, np.uint8, UNKNOWN),
        mobility=_codes(table, "mobility", _numbers(MOBILITY_NAMES).get, np.uint8, NO_MOBILITY),
        remedies=_codes(table, "remedy", _numbers(REMEDIES).get, np.uint8, 0),
        owners=rows,
    )
    _check(runs)
    if not ((nodes >= 0) & (nodes <= kernel.node_mask)).all():
        raise damaged("the column node of the table runs")
    if not len(owners) or (owners[rows] != ids).any():
        raise damaged("the table runs has an owner that the table owners lacks")
    return runs


def _check(runs: SavedRuns) -> None:
    """Raise PageInspectError if columns have numbers that no kernel has."""
    valid = (
        ("folios", ((runs.folios >= 0) & (runs.folios <= runs.lengths)).all()),
        ("order", (runs.order <= _MOST_ORDER).all()),
    )
    for column, right in valid:
        if not right:
            raise damaged(f"the column {column} of the table runs")


def _numbers(names: Sequence[str]) -> dict[str, int]:
    return {name: i for i, name in enumerate(names)}


def _codes(
    table: SnapshotTable,
    column: str,
    code_of: Callable[[str], int | None],
    dtype: Any,
    otherwise: int | None = None,
) -> npt.NDArray[Any]:
    """Return the code of each name of a column; `otherwise` is that of rows without a name."""
    names: Names = table[column]
    found = []
    for name in names.values:
        code = code_of(name)
        if code is None:
            raise unknown_name(column, name)
        found.append(code)
    if otherwise is None and (names.codes < 0).any():
        raise damaged(f"the column {column} of the table {table.name}")
    # Rows without a name have the code -1: the last one.
    return np.array([*found, otherwise or 0], dtype)[np.maximum(names.codes, -1)]
