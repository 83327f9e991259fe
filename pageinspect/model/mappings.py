# SPDX-License-Identifier: GPL-2.0-only
"""Entries of the page tables of processes, as columns: one row per entry."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Pfns = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


class EntryKind:
    """Kinds of entries. Those up to HWPOISON have a pfn."""

    MAPPED: Final = 0
    SPECIAL: Final = 1
    """Mapped without a mapcount: the zero page, device memory, memory without struct pages."""
    MIGRATION: Final = 2
    DEVICE_PRIVATE: Final = 3
    DEVICE_EXCLUSIVE: Final = 4
    HWPOISON: Final = 5
    SWAP: Final = 6
    MARKER: Final = 7
    """A pte marker of an absent page, such as write protection by userfaultfd."""


@dataclass(frozen=True, slots=True)
class Entries:
    """Leaf entries of page tables; rows of one level are in order of mm and address.

    `mm` is an index into the list of mms that were walked.
    """

    mm: npt.NDArray[np.int32]
    vpn: Pfns
    """The first virtual page number."""
    pfn: Pfns
    """The first pfn; for SWAP the offset in the swap file, for MARKER the marker."""
    order: Bytes
    """0, 9 or 18."""
    kind: Bytes
    swap_type: Bytes
    """The number of the swap file, if the kind is SWAP."""

    def __len__(self) -> int:
        return len(self.mm)

    @property
    def pages(self) -> Pfns:
        """The number of pages that each row maps, (n,)."""
        return np.left_shift(np.int64(1), self.order.astype(np.int64))

    def where(self, rows: npt.NDArray[np.bool_] | Pfns) -> "Entries":
        """Return some of the rows."""
        return Entries(*(getattr(self, column)[rows] for column in self.__slots__))


@dataclass(frozen=True, slots=True)
class Tables:
    """Page tables, one row per reference: a table that mms share has a row for each mm."""

    mm: npt.NDArray[np.int32]
    vpn: Pfns
    """The first virtual page number that the table maps."""
    pfn: Pfns

    def __len__(self) -> int:
        return len(self.mm)

    def where(self, rows: npt.NDArray[np.bool_] | slice) -> "Tables":
        """Return some of the rows."""
        return Tables(self.mm[rows], self.vpn[rows], self.pfn[rows])
