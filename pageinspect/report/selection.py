"""Which pages of a walk a report is about: pfn ranges, types, uses, being freed."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..classify import Pages


@dataclass(frozen=True)
class Selection:
    """What was asked for. `types` and `uses` are bool tables over their codes, None for all."""

    spanned: int
    """Number of pfns asked for that have a struct page."""
    last: int = 0
    """The end of the last of them."""
    types: npt.NDArray[np.bool_] | None = None
    uses: npt.NDArray[np.bool_] | None = None
    freeing: bool = False

    @property
    def everything(self) -> bool:
        """Whether no page of the ranges is left out."""
        return self.types is None and self.uses is None and not self.freeing

    def of(self, pages: Pages) -> npt.NDArray[np.bool_] | None:
        """Return which pages of a batch are meant, (n,) bool; None for all."""
        mask = pages.batch.wanted
        if self.types is not None:
            mask = _and(mask, self.types[pages.code])
        if self.uses is not None:
            mask = _and(mask, self.uses[pages.use])
        if self.freeing:
            mask = _and(mask, pages.freeing)
        return mask


def _and(left: npt.NDArray[np.bool_] | None, right: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    return right if left is None else left & right
