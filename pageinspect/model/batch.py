# SPDX-License-Identifier: GPL-2.0-only
"""Raw struct pages: 64-bit words, one row per page."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class PageBatch:
    """The struct pages of consecutive pfns.

    `words` is (n, sizeof(struct page)/8) uint64. `readable` and `wanted` are (n,) bool: whether the
    struct page could be read (otherwise its words are 0), and whether the pfn is wanted. None means
    that all are.
    """

    first: int
    words: Words
    readable: npt.NDArray[np.bool_] | None
    wanted: npt.NDArray[np.bool_] | None

    def __len__(self) -> int:
        return len(self.words)

    @property
    def size(self) -> int:
        """The number of pfns."""
        return len(self.words)

    @property
    def offsets(self) -> npt.NDArray[np.int64]:
        """First page of each row, relative to `first`, (n,). A row is one page. See RunBatch."""
        return np.arange(len(self.words))

    @property
    def pfns(self) -> npt.NDArray[np.int64]:
        """The pfn of each row, (n,)."""
        return np.arange(self.first, self.first + len(self.words))

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The number of pages in each row, (n,)."""
        return np.ones(len(self.words), np.int64)

    def rows(self, offsets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the rows with these pages, which are relative to `first`."""
        return offsets

    def word(self, offset: int) -> Words:
        """Return the 64-bit word at byte `offset` of each struct page, (n,) uint64.

        An offset beyond the struct page is in the next one; for the last row it is 0.
        """
        width = self.words.shape[1]
        if offset < 8 * width:
            return self.words[:, offset // 8]
        following = np.zeros(len(self.words), np.uint64)
        following[:-1] = self.words[1:, offset // 8 - width]
        return following


@dataclass(frozen=True, slots=True)
class FolioHeads:
    """The first two struct pages of any folios: `words` is (k, 2*sizeof(struct page)/8) uint64.

    `readable` is (k, 2) bool: which of the two could be read; None means that all could.
    """

    words: Words
    readable: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.words)

    def word(self, offset: int) -> Words:
        """Return the 64-bit word at byte `offset` from each folio's head, (k,) uint64."""
        return self.words[:, offset // 8]
