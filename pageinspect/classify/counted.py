# SPDX-License-Identifier: GPL-2.0-only
"""What counting needs of pages, whether they are decoded now or were saved in a snapshot."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..model.layout import PageLayout
from .batches import Mask, Pfns


class CountedPages(Protocol):
    """Rows of consecutive pages, in order of pfn, as columns of (n,): those of Pages."""

    @property
    def layout(self) -> PageLayout:
        """The layout of their kernel."""

    @property
    def use(self) -> npt.NDArray[np.uint16]:
        """The use of each page: a code that use_name() takes."""

    @property
    def code(self) -> npt.NDArray[np.uint16]:
        """The type of the page: a type's slot, or a Code."""

    @property
    def order(self) -> npt.NDArray[np.uint8]:
        """The order of the folio or free block that contains the page."""

    @property
    def zone(self) -> npt.NDArray[np.uint8]:
        """The zone number."""

    @property
    def node(self) -> npt.NDArray[np.uint16]:
        """The node number."""

    @property
    def freeing(self) -> Mask:
        """Whether the page is being freed with its type still set."""

    @property
    def pfns(self) -> Pfns:
        """The first pfn of each row."""

    @property
    def lengths(self) -> Pfns:
        """The number of pages of each row."""

    @property
    def folios(self) -> Pfns:
        """The number of folios and free blocks that begin in each row."""

    @property
    def wanted(self) -> Mask | None:
        """Whether the pages of each row are wanted; None is all."""

    @property
    def readable(self) -> Mask | None:
        """Whether the struct page could be read; None is all."""

    @property
    def unreadable(self) -> int:
        """The number of wanted pages whose struct page could not be read."""

    def __len__(self) -> int: ...

    def count(self, rows: Mask) -> int:
        """Return how many pages there are in these rows."""
