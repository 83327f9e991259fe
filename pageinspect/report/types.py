# SPDX-License-Identifier: GPL-2.0-only
"""The report of `types`: the page types of a kernel."""

from dataclasses import dataclass
from typing import Any

from ..model.layout import PageLayout
from ..model.provenance import Provenance
from ..model.table import Absent, Column, Row, Table
from .base import SCHEMA, Report, View, kernel_json, unavailable_remarks

_SOURCES = {
    "enum": "enum pagetype",
    "vmcoreinfo": "VMCOREINFO",
    "facts": "known for this scheme",
    "flag": "page flag",
    "dtor": "compound destructor",
}
_RESETS = {
    True: "A type that is still set when its page is freed is reset by the buddy allocator",
    False: "The buddy allocator does not reset types: a page freed with a type is a bad page",
    None: "It is unknown whether the buddy allocator resets a type that is still set",
}
_COLUMNS = (
    Column("type", key="name"),
    Column("value", absent=(Absent.NOT_APPLICABLE,)),
    Column("source", show=_SOURCES.__getitem__),
    Column("sticky", "bool", absent=(Absent.UNAVAILABLE,), blank="unavailable"),
)


@dataclass(frozen=True, slots=True)
class TypesReport(Report):
    """The page types of a kernel, and whether its buddy allocator resets them."""

    provenance: Provenance
    layout: PageLayout

    def _table(self) -> Table:
        layout, scheme = self.layout, self.layout.scheme
        known = layout.resets is not None
        rows: list[Row] = [
            (
                t.name,
                scheme.slot_value(t.slot) or Absent.NOT_APPLICABLE,
                t.source,
                layout.is_sticky(t.name) if known else Absent.UNAVAILABLE,
            )
            for t in scheme.types
        ]
        rows += [
            (name, Absent.NOT_APPLICABLE, marker.kind, False)
            for name, marker in layout.markers.items()
        ]
        return Table("types", _COLUMNS, rows)

    def _unavailable(self) -> tuple[str, ...]:
        layout = self.layout
        if not layout.unavailable:
            return ()
        return ("", *unavailable_remarks(layout.unavailable, self.provenance.because))

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {
            "schema": SCHEMA,
            "kernel": kernel_json(self.provenance, self.layout),
            "resets": self.layout.resets,
            "resets_from": self.layout.resets_from,
            "types": self._table(),
            "unsupported": list(self.layout.unavailable),
        }

    def tables(self) -> tuple[Table, ...]:
        """Return the table of types."""
        return (self._table(),)

    def view(self) -> View:
        """Return the types, and whether the buddy allocator resets them."""
        return View(
            self._table(),
            before=(f"{self.provenance.describe()}, scheme {self.layout.scheme.name}", ""),
            after=(
                "",
                f"{_RESETS[self.layout.resets]} ({self.layout.resets_from}).",
                "Sticky: the owner leaves the type set when it frees the page.",
                *self._unavailable(),
            ),
        )
