# SPDX-License-Identifier: GPL-2.0-only
"""Limits of how much a name may grow or shrink between two snapshots."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ..errors import UsageError, did_you_mean
from .differences import Change

GRAMMAR = (
    "NAME:+N or NAME:-N, where N is a number of pages, or ends in %, or in K, M, G or T for bytes: "
    "slab:+10%, slab:dentry:+100M, anon:-500"
)
_FORM = re.compile(r"(.+):([+-])([0-9]{1,18}(?:\.[0-9]{1,6})?)([%KMGT]?)", re.DOTALL)
_SHIFTS = {"K": 10, "M": 20, "G": 30, "T": 40}


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that a name may grow (sign 1) or shrink (sign -1)."""

    text: str
    """As the user wrote it."""
    name: str
    sign: int
    amount: Fraction
    unit: str
    """% of the amount before; K, M, G or T for bytes; empty for pages."""

    def is_exceeded(self, before: int, after: int, page_size: int) -> bool:
        """Return whether the difference of these bytes is more than the limit."""
        grown = self.sign * (after - before)
        if self.unit == "%":
            return grown * 100 > self.amount * before
        shift = _SHIFTS.get(self.unit)
        return grown > self.amount * (page_size if shift is None else 1 << shift)


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A limit that was exceeded, with the bytes before and after."""

    limit: Limit
    before: int
    after: int


def parse_limit(text: str) -> Limit:
    """Return the Limit of a text by GRAMMAR. Raises UsageError."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is not a limit", f"write {GRAMMAR}")
    name, sign, amount, unit = match.groups()
    if "." in amount and not unit:
        raise UsageError(f"{text!r} is not a whole number of pages", f"write {GRAMMAR}")
    return Limit(text, name, 1 if sign == "+" else -1, Fraction(amount), unit)


def labels(by: str, key: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names by which a limit can mean a row: its own, and those of sums it is in."""
    if by == "name":
        kind, name = key
        return (kind, f"{kind}:{name}") if name else (kind,)
    if by == "process":
        pid, comm = key
        return (comm, f"{comm}[{pid}]") if pid else (comm,)
    return key[:1]


def exceeded(
    limits: Sequence[Limit], by: str, changes: Iterable[Change], scale: int, page_size: int
) -> tuple[Exceeded, ...]:
    """Return the limits that are exceeded. Raises UsageError for a name that no row has.

    `changes` are all rows by `by`, whose first amounts times `scale` are bytes.
    """
    sums: dict[str, tuple[int, int]] = {}
    for change in changes:
        for label in labels(by, change.key):
            before, after = sums.get(label, (0, 0))
            sums[label] = before + change.before[0] * scale, after + change.after[0] * scale
    return tuple(
        Exceeded(limit, *amounts)
        for limit in limits
        if limit.is_exceeded(*(amounts := _amounts(limit, by, sums)), page_size)
    )


def _amounts(limit: Limit, by: str, sums: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    amounts = sums.get(limit.name)
    if amounts is None:
        raise UsageError(
            f"--fail-above: neither side has {limit.name!r}",
            did_you_mean(limit.name, sums, f"names are those of diff --by {by} --top 0"),
        )
    return amounts
