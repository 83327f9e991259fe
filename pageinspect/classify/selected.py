# SPDX-License-Identifier: GPL-2.0-only
"""The columns that scripts get: those of the wanted pages only.

A batch is decoded with all pages of its memory section, because free blocks and folios may extend
beyond the wanted pages.
"""

from operator import index
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
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
    """The columns of Pages, with one row per wanted page, or per wanted run."""

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
        """The columns of all pages of the batch, wanted or not."""

    def __len__(self) -> int:
        wanted = self.decoded.batch.wanted
        return len(self.decoded) if wanted is None else int(np.count_nonzero(wanted))

    def select(self, column: Column) -> Column:
        """Return the entries of the wanted rows, from a column of the whole batch."""
        wanted = self.decoded.batch.wanted
        return column if wanted is None else column[wanted]

    @property
    def readable(self) -> Mask | None:
        """Whether each struct page could be read, (n,) bool; None means all of them."""
        readable = self.decoded.batch.readable
        return None if readable is None else self.select(readable)

    def own(self, offset: int) -> Words:
        """Return the 64-bit words at byte `offset`, a multiple of 8, of each page's struct page.

        Raises UsageError for another offset.
        """
        return self.select(self.decoded.own(self._word_at(offset, 1)))

    def of_head(self, offset: int) -> Words:
        """Return the 64-bit words at byte `offset` from the head of each page's folio.

        The offset is a multiple of 8; it may be in the first tail. Raises UsageError for another.
        """
        return self.select(self.decoded.of_head(self._word_at(offset, 2)))

    def _word_at(self, offset: object, pages: int) -> int:
        """Return the offset of a word in the first struct pages; raises UsageError without one."""
        end = pages * self.decoded.layout.struct_size
        if isinstance(offset, SupportsIndex) and index(offset) in range(0, end, 8):
            return index(offset)
        raise UsageError(
            f"there is no 64-bit word at the offset {offset!r}",
            f"give a multiple of 8, from 0 to {end - 8}",
        )

    def flag(self, name: str) -> Mask:
        """Return where a flag is set in the page's own flags; nowhere if this kernel lacks it."""
        return self.select(self.decoded.flag(name))

    def head_flag(self, name: str) -> Mask:
        """Return where a flag is set on the page's folio; nowhere if this kernel lacks it."""
        return self.select(self.decoded.head_flag(name))
