"""What is known of a page: one Fact a field."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Fact:
    """One field: its value for machines, its text for people, what was read and the rule."""

    name: str
    value: Any
    """As JSON has it, or an Absent."""
    text: str
    raw: str = ""
    """The value as it stands in memory, or where it was read."""
    rule: str = ""
    """How the raw value is read, with the kernel commit that it rests on."""
    fault: int | None = None
    """The address that could not be read for it."""


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What is known of one page."""

    pfn: int
    readable: bool
    facts: tuple[Fact, ...]

    def get(self, name: str) -> Fact | None:
        """Return the fact of this name, or None."""
        return next((fact for fact in self.facts if fact.name == name), None)
