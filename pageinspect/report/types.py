"""The page types that a kernel knows."""

from dataclasses import dataclass
from typing import Any

from ..model.layout import PageLayout
from ..model.provenance import Provenance
from ..model.table import Cell, Column, Table
from .base import SCHEMA, kernel_json, untold_remarks

_SOURCES = {
    "enum": "enum pagetype",
    "vmcoreinfo": "VMCOREINFO",
    "facts": "known for this scheme",
    "flag": "page flag",
    "dtor": "compound destructor",
}
_RESETS = {
    True: "A type that is still set when its page is freed is reset by the buddy allocator",
    False: "The buddy allocator does not reset types: a page freed with one is a bad page",
    None: "Whether the buddy allocator resets a type that is still set is not told",
}
_STICKY = {True: "yes", False: "no", None: "not told"}


@dataclass(frozen=True, slots=True)
class TypesReport:
    """What a kernel's page types are, and what its buddy allocator does with them."""

    provenance: Provenance
    layout: PageLayout

    def _entries(self) -> list[tuple[str, str | None, str, bool | None]]:
        """Return (name, value, source, sticky) of each type."""
        layout, scheme = self.layout, self.layout.scheme
        told = layout.resets is not None
        entries: list[tuple[str, str | None, str, bool | None]] = [
            (
                t.name,
                scheme.slot_value(t.slot),
                t.source,
                layout.is_sticky(t.name) if told else None,
            )
            for t in scheme.types
        ]
        for name, marker in (("slab", layout.slab), ("hugetlb", layout.hugetlb)):
            if marker is not None:
                entries.append((name, None, marker.kind, False))
        return entries

    def _untold(self) -> tuple[str, ...]:
        layout = self.layout
        if not layout.untold:
            return ()
        return ("", *untold_remarks(layout.untold, self.provenance.because))

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            "resets": self.layout.resets,
            "resets_from": self.layout.resets_from,
            "types": [
                {"name": name, "value": value, "from": source, "sticky": sticky}
                for name, value, source, sticky in self._entries()
            ],
            "cannot_tell": list(self.layout.untold),
        }

    def to_table(self) -> Table:
        """Return the tabular form."""
        rows: list[tuple[Cell, ...]] = [*self._entries()]
        return Table(
            (
                Column("type", key="name"),
                Column("value"),
                Column("learnt from", lambda source: _SOURCES[source], key="from"),
                Column("sticky", lambda sticky: _STICKY[sticky]),
            ),
            rows,
            before=(f"{self.provenance.describe()}, scheme {self.layout.scheme.name}", ""),
            after=(
                "",
                f"{_RESETS[self.layout.resets]} ({self.layout.resets_from}).",
                "Sticky: its owner leaves it set at free.",
                *self._untold(),
            ),
        )
