# SPDX-License-Identifier: GPL-2.0-only
"""pfn ranges as sorted disjoint (start, end) pairs, end exclusive."""

from collections.abc import Iterable, Sequence

Range = tuple[int, int]


def merge(ranges: Iterable[Range]) -> list[Range]:
    """Return the union of the ranges, sorted; adjacent ranges are joined."""
    merged: list[Range] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif start < end:
            merged.append((start, end))
    return merged


def intersect(left: Sequence[Range], right: Sequence[Range]) -> list[Range]:
    """Return the pfns that are in both of these sorted disjoint sequences."""
    common: list[Range] = []
    i = j = 0
    while i < len(left) and j < len(right):
        start, end = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if start < end:
            common.append((start, end))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return common


def without(ranges: Sequence[Range], others: Sequence[Range]) -> list[Range]:
    """Return the pfns of the first of two sorted disjoint sequences that the second lacks."""
    starts = [*(start for start, _ in others), max((end for _, end in ranges), default=0)]
    ends = [0, *(end for _, end in others)]
    return intersect(ranges, [*zip(ends, starts, strict=True)])


def cut(ranges: Sequence[Range], length: int) -> list[list[Range]]:
    """Return sorted disjoint ranges in pieces, split at multiples of `length` pfns."""
    pieces: list[list[Range]] = []
    last = -1
    for start, end in ranges:
        at = start
        while at < end:
            number = at // length
            upto = min(end, (number + 1) * length)
            if number != last:
                pieces.append([])
                last = number
            pieces[-1].append((at, upto))
            at = upto
    return pieces


def count(ranges: Iterable[Range]) -> int:
    """Return the number of pfns in disjoint ranges."""
    return sum(end - start for start, end in ranges)
