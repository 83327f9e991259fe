# SPDX-License-Identifier: GPL-2.0-only
"""Ranks what stands in the way of free blocks by the blocks that it alone keeps from being free."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..classify.batches import grouped
from ..model.arch import SECTION_PFNS
from .mobility import Integers

Keys = npt.NDArray[np.uint64]
_NAMES = ("blocks", "who", "keys", "ways", "pages", "misplaced")
_MOST_PARTS = 64
SECTION_ORDER = SECTION_PFNS.bit_length() - 1


@dataclass(frozen=True, slots=True, eq=False)
class InTheWay:
    """Pages that cannot simply be moved, one row for each block, owner and remedy."""

    blocks: Integers
    """The number of the block in a Grid."""
    who: Integers
    """A number of what the pages belong to: the number of a kind of owner, or a use."""
    keys: Keys
    """Of a kind of owner, the key of the owner."""
    ways: npt.NDArray[np.uint8]
    """The remedy, an index into REMEDIES."""
    pages: Integers
    misplaced: Integers
    """Pages of these in pageblocks for movable pages."""

    def __len__(self) -> int:
        return len(self.blocks)

    def where(self, rows: npt.NDArray[np.bool_] | Integers) -> "InTheWay":
        """Return some of the rows."""
        return InTheWay(*(getattr(self, name)[rows] for name in _NAMES))


def nothing() -> InTheWay:
    """Return InTheWay without rows."""
    none = np.empty(0, np.int64)
    return InTheWay(none, none, np.empty(0, np.uint64), np.empty(0, np.uint8), none, none)


def _grouped(parts: Iterable[InTheWay], *by: str) -> InTheWay:
    """Return the sums of pages over rows that agree in these columns, which are sorted."""
    every = [nothing(), *parts]
    columns = {name: np.concatenate([getattr(part, name) for part in every]) for name in _NAMES}
    order = np.lexsort([columns[name] for name in reversed(by)])
    columns = {name: column[order] for name, column in columns.items()}
    begins = np.ones(len(order), np.bool_)
    begins[1:] = np.any([columns[name][1:] != columns[name][:-1] for name in by], axis=0)
    at = np.flatnonzero(begins)
    for name in ("pages", "misplaced"):
        columns[name] = np.add.reduceat(columns[name], at)
    rest = {name: columns[name][at] for name in ("blocks", "who", "keys", "ways")}
    return InTheWay(**rest, pages=columns["pages"], misplaced=columns["misplaced"])


def in_the_way(
    blocks: Integers,
    who: Integers,
    keys: Keys,
    ways: npt.NDArray[np.uint8],
    pages: Integers,
    misplaced: npt.NDArray[np.bool_],
) -> InTheWay:
    """Return ranges of pages as rows; `misplaced` is whether they are in a movable pageblock."""
    of_pages = InTheWay(blocks, who, keys, ways, pages, np.where(misplaced, pages, 0))
    return _grouped((of_pages,), "blocks", "who", "keys", "ways")


@dataclass(frozen=True, slots=True, eq=False)
class BlockerSums:
    """What blocks are kept from being free by: one row for each owner and remedy."""

    who: Integers
    keys: Keys
    ways: npt.NDArray[np.uint8]
    pages: Integers
    misplaced: Integers
    blocks: Integers
    """Blocks with at least one of its pages."""
    alone: Integers
    """Blocks without reserved pages in which only it has pages that cannot simply be moved."""

    def __len__(self) -> int:
        return len(self.who)

    def ranked(self) -> "BlockerSums":
        """Return the rows, those that alone block most first."""
        rows = np.lexsort((-self.pages, -self.blocks, -self.alone))
        return BlockerSums(*(getattr(self, name)[rows] for name in self.__slots__))


class Blockers:
    """Adds up InTheWay of blocks of one order.

    Blocks of at most a memory section are complete in each part that is added, and are reduced at
    once, so that memory grows with the number of owners. Larger ones are kept until the end.
    """

    def __init__(self, order: int) -> None:
        self._at_once = order <= SECTION_ORDER
        self.rows: list[InTheWay] = []
        self.parts: list[tuple[InTheWay, Integers, Integers]] = []

    def add(self, rows: InTheWay, whole: npt.NDArray[np.bool_]) -> None:
        """Add the rows of some sections; `whole` is which of their blocks have no reserved pages.

        It is used for blocks of at most a section.
        """
        if self._at_once:
            self._keep(_reduced(rows, whole))
        elif len(rows):
            self.rows.append(rows)

    def _keep(self, *parts: tuple[InTheWay, Integers, Integers]) -> None:
        self.parts += parts
        if len(self.parts) > _MOST_PARTS:
            self.parts = [_added(self.parts)]

    def merge(self, other: "Blockers") -> None:
        """Add the blocks of another part of the walk."""
        self.rows += other.rows
        self._keep(*other.parts)

    def sums(self, whole: npt.NDArray[np.bool_]) -> BlockerSums:
        """Return what was added; `whole` is which blocks of the Grid have no reserved pages."""
        if not self._at_once:
            rows = _grouped(self.rows, "blocks", "who", "keys", "ways")
            self.parts = [_reduced(rows, whole[rows.blocks])]
        found, blocks, alone = _added(self.parts)
        return BlockerSums(
            found.who, found.keys, found.ways, found.pages, found.misplaced, blocks, alone
        )


def _reduced(rows: InTheWay, whole: npt.NDArray[np.bool_]) -> tuple[InTheWay, Integers, Integers]:
    """Return the rows by owner and remedy, with their numbers of blocks and of blocks alone."""
    _, at = grouped(rows.blocks)
    alone = (np.bincount(at)[at] == 1) & whole
    return _added([(rows, np.ones(len(rows), np.int64), alone.astype(np.int64))])


def _added(
    parts: list[tuple[InTheWay, Integers, Integers]],
) -> tuple[InTheWay, Integers, Integers]:
    """Return the sums by owner and remedy."""
    rows = InTheWay(
        *(
            np.concatenate([getattr(nothing(), name), *(getattr(p[0], name) for p in parts)])
            for name in _NAMES
        )
    )
    order = np.lexsort((rows.ways, rows.keys, rows.who))
    rows = rows.where(order)
    begins = np.ones(len(order), np.bool_)
    begins[1:] = np.any(
        [getattr(rows, name)[1:] != getattr(rows, name)[:-1] for name in ("who", "keys", "ways")],
        axis=0,
    )
    at = np.flatnonzero(begins)
    none = np.empty(0, np.int64)
    numbers = [np.concatenate([none, *(part[i] for part in parts)])[order] for i in (1, 2)]
    sums = [np.add.reduceat(column, at) for column in (rows.pages, rows.misplaced, *numbers)]
    of_owner = rows.where(at)
    found = InTheWay(of_owner.blocks, of_owner.who, of_owner.keys, of_owner.ways, *sums[:2])
    return found, sums[2], sums[3]
