# SPDX-License-Identifier: GPL-2.0-only
"""Which pages a core was to have, and which of them are in its file."""

from dataclasses import dataclass
from itertools import chain, islice
from typing import Literal

import numpy as np
import numpy.typing as npt

from .ranges import Range

Pfns = npt.NDArray[np.int64]
State = Literal["whole", "incomplete", "cut off"]
"""Of a file: "incomplete" is marked by makedumpfile, which ran out of room when it wrote it."""


def each_once(pfns: Pfns) -> Pfns:
    """Return the distinct values, sorted.

    This is faster than np.unique() and its import, and most of all where long parts are in order.
    """
    ordered = np.sort(pfns, kind="stable")
    return ordered[np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]]


@dataclass(frozen=True, slots=True, eq=False)
class PfnSet:
    """A set of pfns."""

    edges: Pfns
    """(2k,) int64, strictly increasing: each range's first pfn, and the pfn after its last."""

    def has(self, pfns: Pfns) -> npt.NDArray[np.bool_]:
        """Return which of these pfns are in the set, (n,) bool."""
        return np.searchsorted(self.edges, pfns, "right") % 2 == 1

    def __len__(self) -> int:
        """Return the number of pfns."""
        return int((self.edges[1::2] - self.edges[::2]).sum())

    def first(self, most: int) -> list[int]:
        """Return the lowest pfns of the set, at most `most`."""
        starts, ends = self.edges[: 2 * most : 2].tolist(), self.edges[1 : 2 * most : 2].tolist()
        found = (range(a, min(b, a + most)) for a, b in zip(starts, ends, strict=True))
        return list(islice(chain.from_iterable(found), most))

    def below(self, pfns: Pfns) -> Pfns:
        """Return how many pfns of the set are below each of these, (n,)."""
        starts, ends = self.edges[::2], self.edges[1::2]
        sums = np.append(0, np.cumsum(ends - starts))
        begun = np.searchsorted(starts, pfns)
        last = np.append(ends, 0)[begun - 1]
        beyond = np.where(begun > 0, np.maximum(last - pfns, 0), 0)
        below: Pfns = sums[begun] - beyond
        return below

    def ranges(self) -> list[Range]:
        """Return sorted disjoint (start, end) pairs."""
        edges = self.edges.tolist()
        return list(zip(edges[::2], edges[1::2], strict=True))

    def minus(self, other: "PfnSet") -> "PfnSet":
        """Return the pfns of this set that are not in the other one."""
        edges = each_once(np.concatenate((self.edges, other.edges)))
        inside = self.has(edges) & ~other.has(edges)
        return PfnSet(edges[np.append(False, inside[:-1]) != inside] if len(edges) else edges)


def pfn_set(starts: Pfns, ends: Pfns) -> PfnSet:
    """Return the set of these ranges, which may overlap; the ends are exclusive."""
    wanted = starts < ends
    order = np.argsort(starts[wanted], kind="stable")
    starts, ends = starts[wanted][order], np.maximum.accumulate(ends[wanted][order])
    begins = np.append(True, starts[1:] > ends[:-1])[: len(starts)]
    last = np.append(begins[1:], True)[: len(starts)]
    return PfnSet(np.stack((starts[begins], ends[last]), axis=1).reshape(-1))


@dataclass(frozen=True, slots=True, eq=False)
class Presence:
    """Which pages a core was to have, and which of them are in its file."""

    form: Literal["kdump", "elf"]
    dumpable: PfnSet
    """Pages that there were to dump, whatever the dump level."""
    kept: PfnSet
    """Those of them that were not left out when the dump was filtered."""
    present: PfnSet
    """Those of them whose contents are in the file."""
    level: int | None = None
    """The dump level in the header; None for ELF, which does not have it."""
    state: State = "whole"
    by_makedumpfile: bool = True
    """Whether makedumpfile wrote it; False if nothing in the file shows that."""

    @property
    def edges(self) -> Pfns:
        """The pfns at which any of the sets begins or ends, sorted."""
        sets = (self.dumpable, self.kept, self.present)
        return each_once(np.concatenate([each.edges for each in sets]))
