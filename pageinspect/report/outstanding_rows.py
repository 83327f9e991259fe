# SPDX-License-Identifier: GPL-2.0-only
"""Outstanding pages by who allocated them, and what they are now."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..model.owner_names import OwnerName
from ..owners.table import KINDS, NUMBER
from ..trace.records import ORDERS
from ..units import counted
from .allocation_keys import Key

if TYPE_CHECKING:
    from ..trace.held_blocks import HeldBlocks

OWNERS_SHOWN = 3
"""Owners of one group that are named; the others are added up."""
OTHER_OWNERS = "others"
_MOST_NAMED = 1 << 16
"""Owners whose names are read, those with most pages first; owners may share a name."""
FREE = NUMBER["free"]


@dataclass(frozen=True, slots=True, eq=False)
class PageOwners:
    """The owner of each outstanding page at the end, in order of pfn."""

    blocks: npt.NDArray[np.int64]
    """The number of the block that the page is of."""
    kinds: npt.NDArray[np.int16]
    """Indices into KINDS."""
    keys: npt.NDArray[np.uint64]
    """The key of the owner, of its kind."""
    names: Callable[[str, Sequence[int]], list[OwnerName]]
    """Returns the names of owners of a kind by their keys."""


class OutstandingRow(NamedTuple):
    """The pages that were allocated with the same values of the keys."""

    key: tuple[Key, ...]
    """Values of the keys of --by. A stack is a tuple of frames, innermost first."""
    allocations: int
    pages: int
    oldest_ns: int
    """Age of the oldest allocation."""
    orders: dict[str, int]
    """Allocations by order."""
    now: dict[str, int]
    """Pages by their owner at the end: the largest first, and the sum of the others last."""


def found_free(blocks: "HeldBlocks", owners: PageOwners) -> npt.NDArray[np.int64]:
    """Return how many pages of each block are free, besides those that were seen freed."""
    free = np.bincount(owners.blocks[owners.kinds == FREE], minlength=len(blocks))
    freed = blocks.records["freed"].astype(np.int64)
    return np.clip(free - freed, 0, blocks.pages)


def rows_of(
    blocks: "HeldBlocks",
    owners: PageOwners,
    keys: Sequence[tuple[npt.NDArray[Any], Sequence[Key]]],
    now_ns: int,
) -> list[OutstandingRow]:
    """Return a row for each combination of keys, most pages first.

    Each of `keys` has a number for each block, and the value of each number.
    """
    pages = blocks.pages - found_free(blocks, owners)
    chosen = pages > 0
    if not chosen.any():
        return []
    codes = np.stack([of_block[chosen] for of_block, _ in keys])
    combinations, group = np.unique(codes, axis=1, return_inverse=True)
    group = group.reshape(-1)
    n = combinations.shape[1]
    sums = np.bincount(group, pages[chosen], n).astype(np.int64)
    allocations = np.bincount(group, minlength=n)
    first = np.full(n, now_ns, np.uint64)
    np.minimum.at(first, group, blocks.records["time_ns"][chosen])
    by_order = np.bincount(group * ORDERS + blocks.orders[chosen], minlength=n * ORDERS)
    by_order = by_order.reshape(n, ORDERS)
    group_of_block = np.full(len(blocks), -1)
    group_of_block[chosen] = group
    now = _now(group_of_block[owners.blocks], owners, n)
    rows = [
        OutstandingRow(
            tuple(values[code] for (_, values), code in zip(keys, combination, strict=True)),
            int(allocations[i]),
            int(sums[i]),
            now_ns - int(first[i]),
            {str(order): int(by_order[i, order]) for order in np.flatnonzero(by_order[i])},
            now[i],
        )
        for i, combination in enumerate(combinations.T.tolist())
    ]
    return sorted(rows, key=lambda row: (-row.pages, str(row.key)))


def _now(group: npt.NDArray[np.int64], owners: PageOwners, n: int) -> list[dict[str, int]]:
    """Return the pages of each group by the name of their owner at the end."""
    used = (group >= 0) & (owners.kinds != FREE)
    group, kinds, keys = group[used], owners.kinds[used], owners.keys[used]
    order = np.lexsort((keys, kinds, group))
    group, kinds, keys = group[order], kinds[order], keys[order]
    begins = np.ones(len(group), np.bool_)
    begins[1:] = (group[1:] != group[:-1]) | (kinds[1:] != kinds[:-1]) | (keys[1:] != keys[:-1])
    at = np.flatnonzero(begins)
    pages = np.diff(np.append(at, len(group)))
    group, kinds, keys = group[at], kinds[at], keys[at]
    largest = np.argsort(-pages, kind="stable")
    named, rest = largest[:_MOST_NAMED], largest[_MOST_NAMED:]
    labels = _labels(kinds[named], keys[named], owners.names)
    found: list[dict[str, int]] = [{} for _ in range(n)]
    for i, label, size in zip(group[named].tolist(), labels, pages[named].tolist(), strict=True):
        found[i][label] = found[i].get(label, 0) + size
    unnamed = np.bincount(group[rest], pages[rest], n).astype(np.int64).tolist()
    return [_largest(*each) for each in zip(found, unnamed, strict=True)]


def _largest(pages: dict[str, int], others: int) -> dict[str, int]:
    """Return the owners with most pages, in order of size, and the sum of the others."""
    ordered = sorted(pages.items(), key=lambda owner: -owner[1])
    others += sum(n for _, n in ordered[OWNERS_SHOWN:])
    return dict(ordered[:OWNERS_SHOWN]) | ({OTHER_OWNERS: others} if others else {})


def _labels(
    kinds: npt.NDArray[np.int16],
    keys: npt.NDArray[np.uint64],
    names: Callable[[str, Sequence[int]], list[OwnerName]],
) -> list[str]:
    """Return KIND or KIND:NAME of each owner."""
    labels = [""] * len(kinds)
    for number in np.unique(kinds).tolist():
        kind = KINDS[number].name
        at = np.flatnonzero(kinds == number)
        distinct, which = np.unique(keys[at], return_inverse=True)
        found = [each.name for each in names(kind, distinct.tolist())]
        for i, j in zip(at.tolist(), which.reshape(-1).tolist(), strict=True):
            labels[i] = f"{kind}:{found[j]}" if found[j] else kind
    return labels


def more_rows(rows: Sequence[OutstandingRow], top: int | None) -> tuple[int, int, str]:
    """Return the allocations and pages of the rows past the first `top`, and how many they are."""
    left = rows[len(rows) if top is None else top :]
    return (
        sum(row.allocations for row in left),
        sum(row.pages for row in left),
        counted(len(left), "more row"),
    )
