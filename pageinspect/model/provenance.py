# SPDX-License-Identifier: GPL-2.0-only
"""The source of a report: the kernel, how it was read, and the source of types."""

import shlex
from dataclasses import dataclass
from typing import Literal

Symbols = Literal["dwarf", "btf", "vmcoreinfo"]


@dataclass(frozen=True, slots=True)
class GuestState:
    """How a QEMU guest is read from outside."""

    paused: bool
    """Whether the guest is paused while it is read."""
    denied: str
    """Why the guest is read through its monitor instead of QEMU's memory; "" if it is not."""

    def describe(self) -> str:
        """Return text for people."""
        state = "paused" if self.paused else "running"
        if not self.denied:
            return f"a {state} QEMU guest, read in QEMU's memory"
        stopped = "" if self.paused else "; it stops for each piece"
        return f"a {state} QEMU guest, read through its monitor ({self.denied}{stopped})"


@dataclass(frozen=True, slots=True)
class SnapshotMoment:
    """The snapshot that is read instead of a kernel."""

    host: str
    """Untrusted text."""
    time: str
    """UTC, as 20261127T201500Z."""


@dataclass(frozen=True, slots=True)
class Provenance:
    """The source of a report, a part of every report."""

    release: str
    source: Literal["live", "core", "qemu"]
    symbols: Symbols
    because: str = ""
    """Why types and symbols are from VMCOREINFO alone; "" if they are not."""
    notes: tuple[str, ...] = ()
    """Sentences for people about how the core was read."""
    guest: GuestState | None = None
    """Set for the source qemu."""
    is_whole: bool = True
    """Whether the core is complete."""
    snapshot: SnapshotMoment | None = None
    """Set if a snapshot is read: all else is of the time when it was taken."""
    target: str = ""
    """What is read, as -c takes it: untrusted text; "" for this kernel, or if it has no name."""

    @property
    def option(self) -> str:
        """The option of the command line that names what is read; "" for this kernel."""
        name = self.target
        if not name and self.snapshot is not None:
            name = f"DATASET@{self.snapshot.time}#{self.snapshot.host}"
        elif not name and self.source == "core":
            name = "CORE"
        return f"-c {shlex.quote(name)}" if name else ""

    @property
    def changing(self) -> bool:
        """Whether the kernel ran while it was read."""
        return self.source == "live" or (self.guest is not None and not self.guest.paused)

    def describe(self) -> str:
        """Return text for people."""
        if self.guest is not None:
            where = self.guest.describe()
        else:
            where = {"live": "this kernel", "core": "a core"}[self.source]
        if self.snapshot is not None:
            where = f"snapshot of {self.snapshot.host} at {self.snapshot.time} (from {where})"
        alone = " alone" if self.symbols == "vmcoreinfo" else ""
        return f"Linux {self.release}, {where}, types from {self.symbols.upper()}{alone}"
