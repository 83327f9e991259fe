# SPDX-License-Identifier: GPL-2.0-only
"""Counts the pages of owners by their fate in a dump: present, excluded, outside or lost."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ..analysis.dump_levels import LEVEL_RULES, MAX_LEVEL, ZERO, excluding_rules
from ..classify.batches import Mask
from ..classify.uses import USE, Pages
from ..model.arch import PAGE_SHIFT
from ..model.presence import Pfns, PfnSet, Presence, pfn_set
from .assign import Assigned
from .table import NUMBER

FATES = ("present", *(rule.name for rule in LEVEL_RULES), "undecided", "outside", "lost")
"""What becomes of pages. The names of rules are those of pages that the dump level excludes."""
FATE = {name: i for i, name in enumerate(FATES)}
CAUSES = ("excluded", "cut_off", "uncovered")
"""Why pages are lost: left out by the filter, beyond the end of the file, in no part of it."""
MOST_PFNS = 10
"""pfns that are kept of each owner of lost pages."""

_ALWAYS_OUTSIDE = tuple(USE[name] for name in ("hwpoison", "zone_device", "unreadable"))
_MAY_BE_RESERVED = (USE["kernel"], USE["idle"])
_RESERVED_OUTSIDE = tuple(NUMBER[name] for name in ("crashkernel", "firmware", "boot", "unknown"))
_LOW_END = (1 << 20) >> PAGE_SHIFT
"""The first 1 MiB: the kernel reserves it, and leaves it out of the memory of its dump."""


@dataclass(slots=True)
class LostOwner:
    """Lost pages of one owner and use."""

    pages: int = 0
    pfns: list[int] = field(default_factory=list)
    """The first MOST_PFNS of them."""

    def add(self, pages: int, pfns: list[int]) -> None:
        """Add later pages."""
        self.pages += pages
        self.pfns += pfns[: MOST_PFNS - len(self.pfns)]


class DumpTally:
    """Counts pages by use, kind of owner and fate; keeps the first pfns of those that are lost."""

    def __init__(self, presence: Presence, level: int | None) -> None:
        """`level` is the dump level; None allows everything that any level excludes."""
        self._presence = presence
        self._level = MAX_LEVEL if level is None else level
        self.counts: Counter[tuple[int, int, int]] = Counter()
        """Pages by use, index into KINDS, and index into FATES."""
        self.lost: dict[tuple[int, int, int], LostOwner] = {}
        """By use, index into KINDS and the owner's key."""
        self.causes: Counter[str] = Counter()
        """Lost pages by cause."""
        self.first_tails = 0
        """Lost pages that are the second page of a folio."""
        self.edges: list[Pfns] = []
        """The edges of sets of lost pages, which are disjoint."""

    @property
    def lost_pfns(self) -> PfnSet:
        """All lost pages."""
        edges = np.concatenate([np.empty(0, np.int64), *self.edges])
        return pfn_set(edges[::2], edges[1::2])

    def add(self, pages: Pages, pieces: Assigned) -> None:
        """Count the pieces of a batch, each of which is in one part of the file, or in none."""
        uses = pages.use[pieces.rows].astype(np.int64)
        fates = self._fates(pages, pieces, uses)
        code = (uses * len(NUMBER) + pieces.kinds) * len(FATES) + fates
        for value, n in zip(*_sums(code, pieces.lengths), strict=True):
            rest, fate = divmod(value, len(FATES))
            self.counts[(*divmod(rest, len(NUMBER)), fate)] += n
        lost = fates == FATE["lost"]
        if lost.any():
            self._add_lost(pages, pieces.where(lost), uses[lost])

    def merge(self, other: "DumpTally") -> None:
        """Add the counts of later pages."""
        self.counts.update(other.counts)
        self.causes.update(other.causes)
        self.first_tails += other.first_tails
        self.edges += other.edges
        for key, owner in other.lost.items():
            self.lost.setdefault(key, LostOwner()).add(owner.pages, owner.pfns)

    def _fates(
        self, pages: Pages, pieces: Assigned, uses: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        presence, starts = self._presence, pieces.starts
        rules = excluding_rules(pages, self._level)[pieces.rows]
        # Zero pages of a kdump are in the file, and those of an ELF core are not.
        zeros = presence.form == "elf" and self._level & ZERO
        undecided = (uses == USE["unreadable"]) | bool(zeros)
        unlike = np.where(undecided, FATE["undecided"], FATE["lost"])
        fates = np.where(rules >= 0, 1 + rules, unlike)
        fates[presence.kept.has(starts)] = FATE["lost"]
        fates[presence.present.has(starts)] = FATE["present"]
        outside = ~presence.dumpable.has(starts)
        belongs = _belongs_outside(pages, pieces, uses, rules)
        fates[outside] = np.where(belongs, FATE["outside"], FATE["lost"])[outside]
        return fates.astype(np.int64)

    def _add_lost(self, pages: Pages, pieces: Assigned, uses: npt.NDArray[np.int64]) -> None:
        starts, lengths = pieces.starts, pieces.lengths
        covered, kept = (s.has(starts) for s in (self._presence.dumpable, self._presence.kept))
        for cause, mask in zip(CAUSES, (covered & ~kept, kept, ~covered), strict=True):
            self.causes[cause] += int(lengths[mask].sum())
        second = pages.heads[pieces.rows] == starts - 1
        self.first_tails += int((covered & ~kept & second).sum())
        self.edges.append(pfn_set(starts, starts + lengths).edges)
        order = np.lexsort((starts, pieces.keys, pieces.kinds, uses))
        uses, pieces = uses[order], pieces.where(order)
        changed = (np.diff(uses) != 0) | (np.diff(pieces.kinds) != 0)
        changed |= pieces.keys[1:] != pieces.keys[:-1]
        at = np.append(0, np.flatnonzero(changed) + 1)
        sums = np.add.reduceat(pieces.lengths, at).tolist()
        for i, end, n in zip(at.tolist(), [*at[1:].tolist(), len(uses)], sums, strict=True):
            owner = (int(uses[i]), int(pieces.kinds[i]), int(pieces.keys[i]))
            some = np.arange(i, min(end, i + MOST_PFNS))
            self.lost.setdefault(owner, LostOwner()).add(n, _first(pieces.where(some)))


def _first(pieces: Assigned) -> list[int]:
    """Return the first MOST_PFNS pfns of at most as many pieces."""
    ranges = zip(pieces.starts.tolist(), pieces.lengths.tolist(), strict=True)
    return [pfn for start, n in ranges for pfn in range(start, start + min(n, MOST_PFNS))][
        :MOST_PFNS
    ]


def _belongs_outside(
    pages: Pages, pieces: Assigned, uses: npt.NDArray[np.int64], rules: npt.NDArray[np.int8]
) -> Mask:
    """Return which pages a dump need not cover: memory that is not the kernel's to use.

    The crash kernel, memory of the firmware and the first 1 MiB are reserved; which part of it is
    used is not known if the resources of the machine cannot be read. If VMCOREINFO does not provide
    PG_reserved, pages that may be reserved have the use kernel or idle.
    """
    unknown = "reserved" in pages.layout.unavailable
    reserved = np.isin(uses, _MAY_BE_RESERVED if unknown else (USE["reserved"],))
    quiet = np.isin(pieces.kinds, _RESERVED_OUTSIDE) | (pieces.starts < _LOW_END)
    always = [i for i, rule in enumerate(LEVEL_RULES) if not rule.levels]
    return (reserved & quiet) | np.isin(uses, _ALWAYS_OUTSIDE) | np.isin(rules, always)


def _sums(
    codes: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]
) -> tuple[list[int], list[int]]:
    """Return the distinct codes and the sum of the lengths of each."""
    found, at = np.unique(codes, return_inverse=True)
    return found.tolist(), np.bincount(at, lengths).astype(np.int64).tolist()
