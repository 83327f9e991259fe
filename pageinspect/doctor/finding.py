"""What a probe found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether something is there and works, in a few words, and what would mend it."""

    ok: bool
    found: str
    mend: str = ""
    """What to do; empty when it is there, or nothing can be done."""
