# SPDX-License-Identifier: GPL-2.0-only
"""Selects the pages of a report: by pfn range, type, use, and whether they are being freed."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..classify import CountedPages


@dataclass(frozen=True)
class Selection:
    """The selected pages. `types`, (CODES,), and `uses`, (USE_CODES,), are bool; None is all."""

    spanned: int
    """The number of requested pfns that have a struct page."""
    last: int = 0
    """The end of the last requested range, a pfn."""
    types: npt.NDArray[np.bool_] | None = None
    uses: npt.NDArray[np.bool_] | None = None
    freeing: bool = False
    missing: tuple[str, ...] = ()
    """Sentences about what was missing to find requested owners."""
    owned: Mapping[int, npt.NDArray[np.uint64]] | None = None
    """The keys of requested owners by the number of their kind; None is all owners."""

    @property
    def everything(self) -> bool:
        """Whether all pages of the ranges are selected."""
        return self.types is None and self.uses is None and not self.freeing

    def of(self, pages: CountedPages) -> npt.NDArray[np.bool_] | None:
        """Return which pages of a batch are selected, (n,) bool; None is all."""
        mask = pages.wanted
        if self.types is not None:
            mask = _and(mask, self.types[pages.code])
        if self.uses is not None:
            mask = _and(mask, self.uses[pages.use])
        if self.freeing:
            mask = _and(mask, pages.freeing)
        return mask


def _and(left: npt.NDArray[np.bool_] | None, right: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return right if left is None else left & right
