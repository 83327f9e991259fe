"""Where an answer comes from: which kernel, read how, with types from where."""

from dataclasses import dataclass
from typing import Literal

Symbols = Literal["dwarf", "btf", "vmcoreinfo"]


@dataclass(frozen=True, slots=True)
class Guest:
    """How a QEMU guest is looked at from outside."""

    paused: bool
    """It stands still while it is read."""
    denied: str
    """Why it is not read in QEMU's memory, but through its monitor; "" when it is."""

    def describe(self) -> str:
        """Return it as words for people."""
        state = "paused" if self.paused else "running"
        if not self.denied:
            return f"a {state} QEMU guest, read in QEMU's memory"
        stopped = "" if self.paused else "; it stops for each piece"
        return f"a {state} QEMU guest, read through its monitor ({self.denied}{stopped})"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where an answer comes from: part of every report."""

    release: str
    source: Literal["live", "core", "qemu"]
    symbols: Symbols
    because: str = ""
    """Why the symbols are from VMCOREINFO alone."""
    notes: tuple[str, ...] = ()
    """What to know of how the core was read, as sentences for people."""
    guest: Guest | None = None
    """Of source qemu."""
    is_whole: bool = True
    """Whether the core has all that was written of it."""

    @property
    def changing(self) -> bool:
        """Whether the kernel ran while it was read."""
        return self.source == "live" or (self.guest is not None and not self.guest.paused)

    def describe(self) -> str:
        """Return it as words for people."""
        if self.guest is not None:
            where = self.guest.describe()
        else:
            where = {"live": "this kernel", "core": "a core"}[self.source]
        alone = " alone" if self.symbols == "vmcoreinfo" else ""
        return f"Linux {self.release}, {where}, types from {self.symbols.upper()}{alone}"
