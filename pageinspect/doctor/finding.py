# SPDX-License-Identifier: GPL-2.0-only
"""A requirement, and what its probe found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

WALKING, TRACING, GUESTS = "walking", "tracing", "guests"
KERNEL = (WALKING, TRACING)
"""Uses of this kernel; doctor exits with 0 when these work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether a requirement is met, what was found in a few words, and what would fix it."""

    ok: bool
    found: str
    fix: str = ""
    """What to do; empty when nothing is missing or nothing can be done."""


@dataclass(frozen=True, slots=True)
class Item:
    """A requirement: its name, what needs it, and the function that probes it."""

    name: str
    needed_for: tuple[str, ...]
    probe: Callable[[Path], Finding]


@dataclass(frozen=True, slots=True)
class CheckedItem:
    """An item and what was found."""

    item: Item
    finding: Finding


def works(examined: Sequence[CheckedItem], what: str) -> bool:
    """Return whether everything that `what` needs was found."""
    return all(each.finding.ok for each in examined if what in each.item.needed_for)
