# SPDX-License-Identifier: GPL-2.0-only
"""Divides the pages of snapshots into the few classes that a picture has colours for."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from ..analysis.comparable import runs_table, table_of
from ..model.ranges import Range
from ..model.snapshot import Names, Snapshot, SnapshotTable
from .cells import CodedRuns, Codes, differing

HUES = 8
"""Codes below are colours of their own."""
OTHER, FREE, UNREADABLE = range(HUES, HUES + 3)
HATCHED = HUES + 3
"""The first of HUES codes of what has the colour of a family, and lines over it."""
CODES = HATCHED + HUES

BY = ("use", "type", "owner", "order", "free", "migratetype")
"""What pages can be coloured by: owner is the kind of owner, order that of folios, and free the
order of free blocks."""
_RAMPED = ("order", "free")
_FREE_USES = ("buddy", "pcp")
_FREE: Mapping[str, tuple[str, ...]] = {
    "use": _FREE_USES,
    "type": ("buddy",),
    "owner": ("free",),
    "order": ("free",),
}
_UNREADABLE = "unreadable"
_UNKNOWN = "unknown"
"""The name of pages that have none."""
IN_USE = "in use"
"""The name of pages that are not free, where free ones alone have colours."""
_FAMILIES: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = (
    (("anon",), ("ksm", "swapcache")),
    (("file",), ()),
    (("slab",), ("large_kmalloc",)),
    (("hugetlb",), ()),
    (
        ("reserved", "boot", "memmap", "firmware", "static"),
        ("crashkernel", "offline", "balloon", "unaccepted"),
    ),
    (("shmem",), ()),
    (("table",), ()),
    (
        ("kernel", "module", "vmalloc", "stack", "percpu", "bpf", "kmemcg"),
        ("zsmalloc", "page_pool", "block", "trace", "guard"),
    ),
)
"""Uses, page types and kinds of owner by their colour, which is the same in every picture: those
that have it alone, and those that have it hatched. What is not there is other."""
_MIGRATETYPES: Mapping[str, int] = {
    "movable": 0, "reclaimable": 1, "unmovable": 2, "cma": 3, "highatomic": 4, "isolate": 6,
}  # fmt: skip
ORDERS = (
    (0, "order 0"), (1, "orders 1-3"), (4, "orders 4-8"), (9, "order 9"), (10, "orders 10+"),
)  # fmt: skip
"""The least order of each class, and its name."""


@dataclass(frozen=True, slots=True)
class ColourClass:
    """Pages that have one colour."""

    code: int
    names: tuple[str, ...]
    """Untrusted texts: those of most pages first."""
    pages: tuple[int, ...]
    """In each snapshot."""
    each: tuple[tuple[int, ...], ...]
    """The same of each name."""


@dataclass(frozen=True, slots=True)
class Classified:
    """Pages by class."""

    by: str
    classes: tuple[ColourClass, ...]
    """Those of most pages first, and then other, free and unreadable ones."""
    runs: tuple[CodedRuns, ...]
    """Of each snapshot, with the codes of the classes."""
    changed: CodedRuns | None
    """Of two snapshots: the pages whose names differ, also those of one class."""

    @property
    def is_ordered(self) -> bool:
        """Whether the codes are in an order that has a meaning."""
        return self.by in _RAMPED


def classified(
    snapshots: Sequence[Snapshot], by: str, wanted: Sequence[Range] | None = None
) -> Classified:
    """Return the pages of the `wanted` pfns, or all, of each snapshot by one of BY.

    The classes are the same for all snapshots. Raises PageInspectError if a snapshot lacks a table.
    """
    sides = [_named_runs(snapshot, by, wanted) for snapshot in snapshots]
    names = list(dict.fromkeys(name for texts, _ in sides for name in texts))
    totals = np.zeros((len(names), len(sides)), np.int64)
    place = {name: i for i, name in enumerate(names)}
    for i, (texts, runs) in enumerate(sides):
        rows = np.array([place[text] for text in texts], np.int64)
        np.add.at(totals[:, i], rows, runs.pages(len(texts)))
    present = [i for i in np.argsort(-totals.sum(axis=1), kind="stable") if totals[i].any()]
    codes = codes_of(by, [names[i] for i in present])
    classes = [
        ColourClass(
            code,
            tuple(names[i] for i in members),
            tuple(totals[members].sum(axis=0).tolist()),
            tuple(tuple(totals[i].tolist()) for i in members),
        )
        for code in range(CODES)
        if (members := [i for i in present if codes[names[i]] == code])
    ]
    changed = None
    if len(sides) > 1:
        numbers = ([place[text] for text in texts] for texts, _ in sides)
        changed = differing(
            *(
                CodedRuns(runs.starts, runs.lengths, np.array(of, np.int64)[runs.codes])
                for of, (_, runs) in zip(numbers, sides, strict=True)
            )
        )
        changed = changed.where(changed.codes > 0)
    coded = (
        CodedRuns(runs.starts, runs.lengths, _of(texts, codes)[runs.codes]) for texts, runs in sides
    )
    return Classified(by, tuple(_sorted(by, classes)), tuple(coded), changed)


def _of(texts: Sequence[str], codes: Mapping[str, int]) -> Codes:
    return np.array([codes.get(text, OTHER) for text in texts], np.uint8)


def _sorted(by: str, classes: list[ColourClass]) -> list[ColourClass]:
    if by in _RAMPED:
        return classes
    pages = [0] * CODES
    for each in classes:
        pages[family_of(each.code)] += sum(each.pages)

    def place(each: ColourClass) -> tuple[int, ...]:
        family = family_of(each.code)
        return -1 if family < HUES else family, -pages[family], each.code

    return sorted(classes, key=place)


def codes_of(by: str, names: Iterable[str]) -> dict[str, int]:
    """Return the code of each name by one of BY: the same in every picture."""
    codes = _fixed(by)
    return {name: codes.get(name, OTHER) for name in names}


@cache
def _fixed(by: str) -> Mapping[str, int]:
    """Return the codes of names that are not other ones."""
    codes = dict.fromkeys(_FREE.get(by, ()), FREE) | {_UNREADABLE: UNREADABLE}
    if by in _RAMPED:
        return codes | {name: code for code, (_, name) in enumerate(ORDERS)}
    if by == "migratetype":
        return {**codes, **_MIGRATETYPES}
    for code, (plain, hatched) in enumerate(_FAMILIES):
        codes |= dict.fromkeys(plain, code) | dict.fromkeys(hatched, HATCHED + code)
    return codes


def family_of(code: int) -> int:
    """Return the code of what has the same colour without lines."""
    return code - HATCHED if code >= HATCHED else code


def _named_runs(
    snapshot: Snapshot, by: str, wanted: Sequence[Range] | None
) -> tuple[list[str], CodedRuns]:
    """Return texts, and the runs with numbers of texts as codes."""
    table = runs_table(snapshot, "a map")
    texts, numbers = _of_owners(snapshot, table) if by == "owner" else _texts(table, by)
    lost = [i for i, use in enumerate(table["use"].values) if use == _UNREADABLE]
    if lost:
        numbers = np.where(np.isin(table["use"].codes, lost), len(texts), numbers)
        texts = [*texts, _UNREADABLE]
    pfns, pages = (np.asarray(table[name], np.int64) for name in ("pfn", "pages"))
    runs = CodedRuns(pfns, pages, numbers)
    return texts, runs if wanted is None else runs.within(wanted)


def _texts(runs: SnapshotTable, by: str) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return texts, and the number of the text of each run."""
    if by in _RAMPED:
        least = [order for order, _ in ORDERS]
        numbers = np.searchsorted(least, runs["order"], "right") - 1
        uses: Names = runs["use"]
        free = np.isin(uses.codes, [i for i, use in enumerate(uses.values) if use in _FREE_USES])
        neutral = free if by == "order" else ~free
        name = "free" if by == "order" else IN_USE
        return [*(text for _, text in ORDERS), name], np.where(neutral, len(ORDERS), numbers)
    names: Names = runs[by]
    return [*names.values, _UNKNOWN], np.where(names.codes < 0, len(names.values), names.codes)


def _of_owners(snapshot: Snapshot, runs: SnapshotTable) -> tuple[list[str], npt.NDArray[np.int64]]:
    """Return kinds of owner, and the number of the kind of each run."""
    owners = table_of(snapshot, "owners", "a map by owner")
    kinds: Names = owners["kind"]
    order = np.argsort(owners["id"], kind="stable")
    ids, ends = np.asarray(owners["id"])[order], kinds.codes[order]
    unknown = len(kinds.values)
    if not len(ids):
        return [_UNKNOWN], np.zeros(len(runs), np.int64)
    at = np.minimum(np.searchsorted(ids, runs["owner"]), len(ids) - 1)
    found = (ids[at] == runs["owner"]) & (ends[at] >= 0)
    return [*kinds.values, _UNKNOWN], np.where(found, ends[at], unknown)
