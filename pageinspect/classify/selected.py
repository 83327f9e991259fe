"""What a script sees: the columns of the pages that were asked for, and of no others.

A batch is decoded with all pages of its memory section, because free blocks and folios reach beyond
what is asked for.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ..model.batch import Words
from .batches import Mask
from .uses import Pages

Column = npt.NDArray[Any]


def _column(name: str) -> Any:
    return property(
        lambda selected: selected.select(getattr(selected.decoded, name)),
        doc=f"See Pages.{name}.",
    )


class SelectedPages:
    """The columns of Pages, with a row for each page (or run) that was asked for."""

    use = _column("use")
    code = _column("code")
    order = _column("order")
    head = _column("head")
    heads = _column("heads")
    pfns = _column("pfns")
    lengths = _column("lengths")
    word = _column("word")
    refcount = _column("refcount")
    head_refcount = _column("head_refcount")
    flags = _column("flags")
    head_flags = _column("head_flags")
    mapping = _column("mapping")
    zone = _column("zone")
    node = _column("node")
    freeing = _column("freeing")

    def __init__(self, decoded: Pages) -> None:
        self.decoded = decoded
        """All that was decoded with them."""

    def __len__(self) -> int:
        wanted = self.decoded.batch.wanted
        return len(self.decoded) if wanted is None else int(np.count_nonzero(wanted))

    def select(self, column: Column) -> Column:
        """Return the entries of a column of all that was decoded that were asked for."""
        wanted = self.decoded.batch.wanted
        return column if wanted is None else column[wanted]

    @property
    def readable(self) -> Mask | None:
        """Whether each struct page could be read, (n,) bool; None means all of them."""
        readable = self.decoded.batch.readable
        return None if readable is None else self.select(readable)

    def own(self, offset: int) -> Words:
        """Return the 64-bit words at byte `offset` of each page's own struct page."""
        return self.select(self.decoded.own(offset))

    def of_head(self, offset: int) -> Words:
        """Return the 64-bit words at byte `offset` from the head of each page's folio."""
        return self.select(self.decoded.of_head(offset))

    def flag(self, name: str) -> Mask:
        """Return where a flag is set in the page's own struct page; nowhere if it has none."""
        return self.select(self.decoded.flag(name))

    def head_flag(self, name: str) -> Mask:
        """Return where a flag is set on the page's folio; nowhere if this kernel lacks it."""
        return self.select(self.decoded.head_flag(name))
