# SPDX-License-Identifier: GPL-2.0-only
"""Migratetypes of pageblocks, and references that the kernel's own batches hold."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .arch import SECTION_PFNS

UNKNOWN = 0xFF
"""The migratetype of a pfn without a pageblock that could be read."""


@dataclass(frozen=True, slots=True, eq=False)
class Pageblocks:
    """The migratetype of each pageblock of the memory sections with struct pages."""

    order: int
    names: tuple[str, ...]
    """Names of migratetypes by number, such as "movable"."""
    firsts: npt.NDArray[np.int64]
    """The first pfn of each section, sorted, (k,)."""
    types: npt.NDArray[np.uint8]
    """Migratetypes by [section, pageblock], (k, SECTION_PFNS >> order); UNKNOWN if unreadable."""
    unreadable: int = 0
    """Sections whose pageblocks could not be read."""

    def of(self, pfns: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        """Return the migratetype of the pageblock of each pfn, (n,) uint8, or UNKNOWN."""
        if not len(self.firsts):
            return np.full(len(pfns), UNKNOWN, np.uint8)
        row = np.maximum(np.searchsorted(self.firsts, pfns, "right") - 1, 0)
        offsets = pfns - self.firsts[row]
        inside = (offsets >= 0) & (offsets < SECTION_PFNS)
        found = self.types[row, np.where(inside, offsets, 0) >> self.order]
        return np.where(inside, found, np.uint8(UNKNOWN))


@dataclass(frozen=True, slots=True, eq=False)
class BatchReferences:
    """References of per-CPU folio batches: folios on their way to or between LRU lists."""

    pfns: npt.NDArray[np.int64]
    """The head of each folio, sorted and distinct, (k,)."""
    references: npt.NDArray[np.int64]
    """How many batch entries refer to it, (k,)."""
    unreadable: int = 0
    """Batches that could not be read, and entries that are invalid."""

    def of(self, heads: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the references of batches to the folio with each head, (n,)."""
        if not len(self.pfns):
            return np.zeros(len(heads), np.int64)
        at = np.minimum(np.searchsorted(self.pfns, heads), len(self.pfns) - 1)
        return np.where(self.pfns[at] == heads, self.references[at], 0)
