# SPDX-License-Identifier: GPL-2.0-only
"""Describes a kind of owner: which pages it may own, and how its owners are found.

Some kinds are found in struct pages: a use belongs to the kind, and a word of the folio leads to
the owner. Other kinds claim pages by the kernel's own structures, such as vmalloc areas.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..classify.reads import Declared, Declaring
from ..classify.uses import Pages
from ..classify.words import MAPPING
from ..model.kernel_memory import Pfns, no_pfns
from ..model.presence import each_once
from ..model.ranges import Range
from .structures import Structures

Keys = npt.NDArray[np.uint64]
Group = Literal["", "cache", "file", "caller", "task", "module"]


class Label(NamedTuple):
    """An owner that was found in the kernel's structures."""

    name: str
    """Untrusted text."""
    caller: str = ""
    """The function that allocated the memory, for pages of vmalloc areas."""


@dataclass(frozen=True, slots=True, eq=False)
class Claims:
    """The pages that a kind claims: sorted disjoint ranges, one row each."""

    starts: Pfns
    ends: Pfns
    owners: npt.NDArray[np.int32]
    """The index of each range's owner in `labels`, (k,)."""
    labels: tuple[Label, ...]

    def __len__(self) -> int:
        return len(self.starts)

    def between(self, low: int, high: int) -> "Claims":
        """Return the ranges with these indices; high is exclusive."""
        some = slice(low, high)
        return Claims(self.starts[some], self.ends[some], self.owners[some], self.labels)

    def at(self, pfns: Pfns) -> npt.NDArray[np.int32]:
        """Return the owner of each pfn, (n,) int32; -1 for pfns that are not claimed."""
        if not len(self):
            return np.full(len(pfns), -1, np.int32)
        row = np.searchsorted(self.starts, pfns, "right") - 1
        inside = (row >= 0) & (pfns < self.ends[row])
        return np.where(inside, self.owners[row], np.int32(-1)).astype(np.int32)


def claims_of_pfns(parts: Iterable[tuple[Label, Pfns]]) -> Claims:
    """Return the Claims of owners with arrays of pfns; of two owners of a pfn the first has it.

    Negative pfns are left out.
    """
    labels: dict[Label, int] = {}
    pfns, owners = [no_pfns()], [np.empty(0, np.int32)]
    for label, part in parts:
        pfns.append(part)
        owners.append(np.full(len(part), labels.setdefault(label, len(labels)), np.int32))
    every, of = np.concatenate(pfns), np.concatenate(owners)
    order = np.argsort(every, kind="stable")
    every, of = every[order], of[order]
    first = np.append(True, every[1:] != every[:-1])[: len(every)] & (every >= 0)
    return _joined(every[first], every[first] + 1, of[first], tuple(labels))


def claims_of_ranges(parts: Iterable[tuple[Label, Iterable[Range]]]) -> Claims:
    """Return the Claims of owners with ranges of pfns; where two overlap, the first has the pages.

    Cost grows with the number of ranges.
    """
    labels: dict[Label, int] = {}
    bounds: list[Range] = []
    of: list[int] = []
    for label, ranges in parts:
        number = labels.setdefault(label, len(labels))
        before = len(bounds)
        bounds += (r for r in ranges if r[0] < r[1])
        of += [number] * (len(bounds) - before)
    edges, first = first_covering(np.array(bounds, np.int64).reshape(-1, 2))
    taken = np.flatnonzero(first >= 0)
    owners = np.array(of, np.int32)[first[taken]]
    return _joined(edges[taken], edges[taken + 1], owners, tuple(labels))


def first_covering(bounds: npt.NDArray[np.int64]) -> tuple[Pfns, Pfns]:
    """Divide pfns at the bounds of ranges, and find the first range that covers each part.

    `bounds` is (n, 2), ends exclusive. Returns the sorted edges, (m,) int64, and for each part
    between two of them the index of the first range there, (m - 1,) int64, or -1.
    """
    if not len(bounds):
        return no_pfns(), no_pfns()
    edges = each_once(bounds.reshape(-1))
    low, high = np.searchsorted(edges, bounds.T)
    first = np.full(len(edges) - 1, -1, np.int64)
    order = np.argsort(low, kind="stable")
    if (low < high).all() and (high[order[:-1]] <= low[order[1:]]).all():
        # Ranges that do not overlap begin and end at adjacent edges.
        first[low] = np.arange(len(bounds))
        return edges, first
    begin, end = low[order].tolist(), high.tolist()
    at, covering = 0, list[int]()
    for part in range(len(first)):
        while at < len(begin) and begin[at] == part:
            heappush(covering, int(order[at]))
            at += 1
        while covering and end[covering[0]] <= part:
            heappop(covering)
        if covering:
            first[part] = covering[0]
    return edges, first


def _joined(
    starts: Pfns, ends: Pfns, owners: npt.NDArray[np.int32], labels: tuple[Label, ...]
) -> Claims:
    """Return Claims with adjacent ranges of one owner joined."""
    if not len(starts):
        return Claims(starts, ends, owners, labels)
    begins = np.append(True, (starts[1:] != ends[:-1]) | (owners[1:] != owners[:-1]))
    last = np.append(begins[1:], True)
    return Claims(starts[begins], ends[last], owners[begins], labels)


def _no_keys(pages: Pages) -> Keys:
    return np.zeros(len(pages), np.uint64)


def use_keys(pages: Pages) -> Keys:
    """Return the use of each page, (n,) uint64, for kinds whose names are uses."""
    return pages.use.astype(np.uint64)


def mapping_keys(pages: Pages) -> Keys:
    """Return mapping of each page's folio, (n,) uint64."""
    return pages.read(MAPPING)


@dataclass(frozen=True, slots=True)
class Kind(Declaring):
    """A kind of owner.

    `compute` returns the key of each page's owner, (n,) uint64, from `reads` only: a word that
    leads to the owner, or 0 if all pages of the kind have one name.
    """

    name: str
    sentence: str
    """What its pages are."""
    source: str
    """Where its owners are found."""
    owns: tuple[str, ...] = ()
    """Uses whose pages belong to this kind whatever the kernel's structures claim."""
    may_claim: tuple[str, ...] = ()
    """Uses of pages that it may claim by the kernel's structures."""
    claims: Callable[[Structures], Claims] | None = None
    """Returns what the kernel's structures claim; called only if `needs` were all read."""
    needs: tuple[str, ...] = ()
    """The names of the fields of Structures that `claims` reads, other than names."""
    exact: bool = False
    """Whether a claimed page of a use outside `may_claim` and `owns` is a contradiction.

    False for structures that also list memory that was freed since."""
    rest: bool = False
    """Whether its structures list memory of other kinds by design: its overlaps are not counted."""
    group: Group = ""
    """What its names are, for --by."""
    counter: str = ""
    """The kernel's counter that its pages are compared with."""
    commits: tuple[str, ...] = ()
    """The kernel history that it depends on."""
    limits: str = ""
    """What cannot be found."""
    member: str = ""
    """The member of PageLayout with the offset of a word in the folio's head that is the key."""
    compute: Callable[[Pages], Keys] = _no_keys
    reads: tuple[Declared, ...] = ()

    def __str__(self) -> str:
        return f"the kind {self.name}"
