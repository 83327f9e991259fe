# SPDX-License-Identifier: GPL-2.0-only
"""The facts about a page: one Fact per field."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Fact:
    """One field: value (for JSON), text (for people), raw words and the rule that reads them."""

    name: str
    value: Any
    """A JSON value, or an Absent."""
    text: str
    raw: str = ""
    """The raw words in memory, or where they were read."""
    rule: str = ""
    """How the raw value is decoded, with the kernel commit that the rule depends on."""
    fault: int | None = None
    """The address at which reading it failed, if it did."""
    more: tuple[str, ...] = ()
    """Further lines of the text."""


@dataclass(frozen=True, slots=True)
class PageFacts:
    """All facts about one page."""

    pfn: int
    readable: bool
    facts: tuple[Fact, ...]

    def get(self, name: str) -> Fact | None:
        """Return the fact of this name, or None."""
        return next((fact for fact in self.facts if fact.name == name), None)
