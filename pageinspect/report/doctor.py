"""What this machine offers, and what would mend what is missing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..doctor.finding import GUESTS, KERNEL, Examined, works
from ..model.table import Column, Table
from ..units import printable
from .base import SCHEMA


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """What was found; `release` is that of this kernel."""

    release: str
    examined: Sequence[Examined]

    @property
    def well(self) -> bool:
        """Whether walking and tracing this kernel work."""
        return all(self._works().values())

    def _works(self, what: Sequence[str] = KERNEL) -> dict[str, bool]:
        return {each: works(self.examined, each) for each in what}

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "schema": SCHEMA,
            "kernel": {"release": printable(self.release)},
            "works": self._works((*KERNEL, GUESTS)),
            "items": [
                {
                    "name": each.item.name,
                    "ok": each.finding.ok,
                    "found": printable(each.finding.found),
                    "needed_for": list(each.item.needed_for),
                    "mend": printable(each.finding.mend) or None,
                }
                for each in self.examined
            ],
        }

    def to_table(self) -> Table:
        """Return the tabular form."""
        rows = [
            (
                each.item.name,
                "yes" if each.finding.ok else "NO",
                each.finding.found,
                ", ".join(each.item.needed_for),
            )
            for each in self.examined
        ]
        return Table(
            (Column("item"), Column("ok"), Column("found"), Column("needed for", key="needed_for")),
            rows,
            before=(f"Linux {self.release}, this machine", ""),
            after=("", *self._verdict(), *self._mends()),
        )

    def _verdict(self) -> tuple[str, ...]:
        verdicts = self._works((*KERNEL, GUESTS))
        lines = []
        for said, ok in (("Works here", True), ("Does not work here", False)):
            names = ", ".join(what for what, works_here in verdicts.items() if works_here is ok)
            lines += [f"{said}: {names}."] if names else []
        return tuple(lines)

    def _mends(self) -> tuple[str, ...]:
        """Return a line for each thing to do, with the items that it mends."""
        mends: dict[str, list[str]] = {}
        for each in self.examined:
            if each.finding.mend:
                mends.setdefault(each.finding.mend, []).append(each.item.name)
        lines = [f"{', '.join(names)}: {mend}." for mend, names in mends.items()]
        return ("", *lines) if lines else ()
