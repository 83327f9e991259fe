# SPDX-License-Identifier: GPL-2.0-only
"""Sums pages by use, with the finer totals that comparisons with the kernel's counters need."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..classify import CODES, USE_CODES, Code, Pages, code_name, type_names, use_name, use_names
from ..classify.uses import USE
from ..classify.words import ENTIRE_MAPCOUNT
from ..model.layout import PageLayout
from ..model.page_types import SLOTS, Reading

_MOVABLE = "movable_ops"


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals of all pages of a machine, in pages."""

    uses: dict[str, int] = field(default_factory=dict)
    """Pages by name of use; a use without pages may be missing."""
    known: frozenset[str] = frozenset()
    """The uses that pages of this kernel can have."""
    unmapped_anon: int = 0
    """Pages of use anon or ksm that are not mapped: in the swap cache, or about to be freed."""
    file_off_lru: int = 0
    """Pages of use file that are not on an LRU list, such as those of drivers."""
    compound_kernel: int = 0
    """Pages of use kernel in compound pages."""
    on_trylock: int = 0
    """Pages of use pcp on trylock lists."""
    swapcache: int | None = None
    """Untyped pages of any use in the swap cache; None if they were not counted."""
    counted_uses: frozenset[str] | None = None
    """The uses that were counted; None: all."""


class Tally(ABC):
    """Adds up Totals over the batches of a walk."""

    def __init__(self, layout: PageLayout, *sizes: int) -> None:
        self._layout = layout
        self.sums = [np.zeros(size, np.int64) for size in sizes]

    def watch(self, batches: Iterable[Pages]) -> Iterator[Pages]:
        """Yield the batches, and add each of them."""
        for pages in batches:
            self.add(pages)
            yield pages

    def merge(self, other: "Tally") -> None:
        """Add the sums of another Tally."""
        self.sums = [mine + theirs for mine, theirs in zip(self.sums, other.sums, strict=True)]

    @abstractmethod
    def add(self, pages: Pages) -> None:
        """Add all pages of a batch."""

    @abstractmethod
    def totals(self) -> Totals:
        """Return the totals of all batches so far."""


class UseTally(Tally):
    """Counts pages of every use, and the finer totals."""

    def __init__(self, layout: PageLayout) -> None:
        super().__init__(layout, USE_CODES, 5)
        self._untyped = np.ones(CODES, np.bool_)
        self._untyped[:SLOTS] = False
        self._untyped[[Code.SLAB, Code.HUGETLB, Code.MOVABLE_OPS, Code.UNREADABLE]] = False

    def add(self, pages: Pages) -> None:
        """Add all pages of a batch."""
        uses, finer = self.sums
        use = pages.use
        uses += np.bincount(use, pages.lengths, USE_CODES).astype(np.int64)
        referenced = pages.head_refcount > 0
        anon = (use == USE["anon"]) | (use == USE["ksm"])
        finer += [
            pages.count(anon & ~self._mapped(pages)),
            pages.count((use == USE["file"]) & ~pages.head_flag("lru")),
            pages.count((use == USE["kernel"]) & (pages.folio_order > 0)),
            pages.count(pages.on_trylock_list),
            # Pages with a type use these flags otherwise, and those of free pages are cleared.
            pages.count(pages.in_swap_cache & self._untyped[pages.code] & referenced),
        ]

    def _mapped(self, pages: Pages) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        """Return where a page is mapped, by itself or with its whole folio."""
        mapped = pages.reading == Reading.MAPCOUNT
        if self._layout.entire_mapcount is not None:
            mapped = mapped | ((pages.folio_order > 0) & (pages.read(ENTIRE_MAPCOUNT) >= 0))
        return mapped

    def totals(self) -> Totals:
        """Return the totals of all batches so far."""
        sums, finer = self.sums
        uses: dict[str, int] = {}
        for code in np.flatnonzero(sums).tolist():
            name = use_name(self._layout, code)
            uses[name] = uses.get(name, 0) + int(sums[code])
        unmapped, off_lru, compound, trylock, swapcache = finer.tolist()
        known = frozenset(use_names(self._layout))
        return Totals(uses, known, unmapped, off_lru, compound, trylock, swapcache)


class TypeTally(Tally):
    """Counts only the uses that the page type decides, which is several times faster."""

    def __init__(self, layout: PageLayout) -> None:
        super().__init__(layout, CODES)

    def add(self, pages: Pages) -> None:
        """Add all pages of a batch."""
        self.sums[0] += np.bincount(pages.code, pages.lengths, CODES).astype(np.int64)

    def totals(self) -> Totals:
        """Return the totals of all batches so far."""
        scheme, uses = self._layout.scheme, dict[str, int]()
        for code in np.flatnonzero(self.sums[0]).tolist():
            name = _MOVABLE if code == Code.MOVABLE_OPS else code_name(scheme, code)
            uses[name] = uses.get(name, 0) + int(self.sums[0][code])
        counted = {_MOVABLE, *type_names(self._layout)}
        if scheme.find("large_kmalloc") is None:
            # The kernel counts large kmalloc as slab, and its pages have no type in this kernel.
            counted.discard("slab")
        return Totals(uses, frozenset(use_names(self._layout)), counted_uses=frozenset(counted))
