"""What is probed for, and what a probe found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

WALKING, TRACING, GUESTS = "walking", "tracing", "guests"
KERNEL = (WALKING, TRACING)
"""What is done with this kernel; doctor is content when these work."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether something is there and works, in a few words, and what would fix it."""

    ok: bool
    found: str
    fix: str = ""
    """What to do; empty when it is there, or nothing can be done."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something that this machine may offer, what it is needed for, and how that is found out."""

    name: str
    needed_for: tuple[str, ...]
    probe: Callable[[Path], Finding]


@dataclass(frozen=True, slots=True)
class Examined:
    """An item and what was found."""

    item: Item
    finding: Finding


def works(examined: Sequence[Examined], what: str) -> bool:
    """Return whether all that `what` needs is there."""
    return all(each.finding.ok for each in examined if what in each.item.needed_for)
