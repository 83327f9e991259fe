# SPDX-License-Identifier: GPL-2.0-only
"""Makes the rows of `owners` from counted pages and the names of their owners."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..errors import UsageError, did_you_mean
from ..model.layout import PageLayout
from ..model.owner_names import RESERVED, OwnerName
from ..owners.counts import OwnerPages
from ..owners.kind import Kind
from ..owners.table import KINDS, NUMBER
from .base import DEFAULT_TOP
from .owners import BY, OwnerRow

VMALLOC_KINDS = ("vmalloc", "stack", "module", "bpf")
LAZY = ("file",)
"""Kinds with many owners, each with a name of its own: only those that are shown are named."""


class OwnerNaming(Protocol):
    """Names owners by kind and key."""

    @property
    def reserved_huge_pages(self) -> Mapping[int, int]:
        """Pages of free huge pages that are reserved for mappings, by the key of free ones."""

    def names(self, kind: str, keys: Sequence[int]) -> list[OwnerName]:
        """Return the name of the owner for each key of a kind."""


def check_by(by: str) -> None:
    """Raise UsageError if owners cannot be counted by this."""
    if by not in BY:
        raise UsageError(
            f"owners cannot be counted by {by!r}",
            did_you_mean(str(by), BY, f"choose from {', '.join(BY)}"),
        )


def kind_sums(pages: OwnerPages) -> Iterator[tuple[int, int]]:
    """Yield the number of each kind with pages, and its pages."""
    sums = np.bincount(pages.kinds, pages.pages, len(KINDS)).astype(np.int64)
    return ((number, int(sums[number])) for number in np.flatnonzero(sums).tolist())


@dataclass(slots=True)
class OwnerRows:
    """Makes the rows of a report from counts."""

    names: OwnerNaming
    by: str
    most: int | None
    """The number of owners of each kind in LAZY that are named; None is all."""
    page_size: int
    whole: bool
    """Whether all pages are counted, so that numbers of the whole machine apply."""
    rows: tuple[OwnerRow, ...] = ()
    unnamed: tuple[int, int] = (0, 0)
    others: int = 0
    largest: tuple[OwnerRow, ...] = ()

    def of(self, pages: OwnerPages, cgroups: Iterable[tuple[str, str, int]] = ()) -> "OwnerRows":
        """Set the rows for these counts.

        `cgroups` are kinds, names and bytes of the charged pages and objects by cgroup.
        """
        if self.by == "kind":
            self.rows = _sorted(OwnerRow(KINDS[k].name, "", n) for k, n in kind_sums(pages))
            used = pages.where(pages.kinds != NUMBER["free"])
            self.largest = self._named(used)
            self.unnamed = (0, 0)
        elif self.by == "cgroup":
            self.rows = cgroup_rows(cgroups, self.page_size)
            self.others = pages.total - sum(row.pages for row in self.rows)
        else:
            mask = np.array([_has_names(kind, self.by) for kind in KINDS])[pages.kinds]
            self.others = int(pages.pages[~mask].sum())
            self.rows = self._named(pages.where(mask))
        return self

    def _named(self, pages: OwnerPages) -> tuple[OwnerRow, ...]:
        """Return the rows of the owners; set `unnamed` for those that are not named."""
        rows: dict[tuple[OwnerRow, int], int] = {}
        for number in np.unique(pages.kinds).tolist():
            of_kind = pages.where(pages.kinds == number).largest_first()
            kind = KINDS[number].name
            if self.most is not None and kind in LAZY:
                rest = of_kind.pages[self.most :]
                self.unnamed = self.unnamed[0] + len(rest), self.unnamed[1] + int(rest.sum())
                of_kind = of_kind.where(slice(self.most))
            names = self.names.names(kind, of_kind.keys.tolist())
            keys = of_kind.keys.tolist()
            for key, name, n in zip(keys, names, of_kind.pages.tolist(), strict=True):
                for row, pages_of_row in self._split(kind, key, name, n):
                    # Each inode is an owner: two deleted files may have the same name.
                    same = row, key if kind in LAZY and row.name else 0
                    rows[same] = rows.get(same, 0) + pages_of_row
        return _sorted(row._replace(pages=n) for (row, _), n in rows.items())

    def _split(
        self, kind: str, key: int, name: OwnerName, pages: int
    ) -> Iterator[tuple[OwnerRow, int]]:
        """Yield the row of an owner with its pages; reserved huge pages have a row of their own."""
        of_whole = self.whole and kind == "hugetlb"
        reserved = self.names.reserved_huge_pages.get(key, 0) if of_whole else 0
        if 0 < reserved <= pages:
            text = name.name.removesuffix("free") + RESERVED
            yield self._row(kind, name._replace(name=text)), reserved
            pages -= reserved
        if pages:
            yield self._row(kind, name), pages

    def _row(self, kind: str, name: OwnerName) -> OwnerRow:
        if self.by == "caller":
            return OwnerRow("", name.caller or "(no caller)", 0)
        return OwnerRow(kind, name.name, 0, name.file_system)


def cgroup_rows(sizes: Iterable[tuple[str, str, int]], page_size: int) -> tuple[OwnerRow, ...]:
    """Return the rows of cgroups for (kind, name, bytes), which are added up."""
    sums: dict[tuple[str, str], int] = {}
    for kind, name, n in sizes:
        sums[kind, name] = sums.get((kind, name), 0) + n
    return _sorted(
        OwnerRow(*key, n // page_size, more_bytes=n % page_size) for key, n in sums.items()
    )


def most_named(layout: PageLayout, by: str, top: int | None, *, name_all: bool) -> int | None:
    """Return how many owners of each kind in LAZY are named; None is all."""
    most = DEFAULT_TOP if top is None else top
    # Without the kernel's types owners have no names, and are one row.
    every = (name_all and by != "kind") or bool(layout.unavailable)
    return None if every else most or None


def _has_names(kind: Kind, by: str) -> bool:
    """Return whether the names of a kind are what --by asks for."""
    if by == "caller":
        return kind.name in VMALLOC_KINDS
    return by in ("name", kind.group)


def _sorted(rows: Iterable[OwnerRow]) -> tuple[OwnerRow, ...]:
    return tuple(sorted(rows, key=lambda row: (-row.pages, -row.more_bytes, row.kind, row.name)))
