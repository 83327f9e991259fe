"""The kernels that guests can have."""

from dataclasses import asdict, dataclass, fields
from typing import Any

from ..model.table import Column, Table
from ..units import size
from .base import SCHEMA


@dataclass(frozen=True, slots=True)
class GuestKernel:
    """One kernel of the catalogue, or one that is built."""

    name: str
    suite: str
    series: str
    release: str | None
    """None when it is not built."""
    bytes: int | None
    """Size of what is built."""
    debuginfo: bool
    """Whether its vmlinux with DWARF is there."""
    proves: str


@dataclass(frozen=True, slots=True)
class KernelsReport:
    """All of them."""

    kernels: tuple[GuestKernel, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {"schema": SCHEMA, "kernels": [asdict(kernel) for kernel in self.kernels]}

    def to_table(self) -> Table:
        """Return the tabular form."""
        columns = (
            Column("kernel"),
            Column("suite", spare=1),
            Column("release"),
            Column("size", size, "right"),
            Column("debuginfo"),
        )
        rows = [
            (k.name, k.suite, k.release or "not built", k.bytes, "yes" if k.debuginfo else "no")
            for k in self.kernels
        ]
        said = (f"{k.name} ({k.suite}): {k.proves}." for k in self.kernels if k.proves)
        machines = Table(
            tuple(Column(field.name) for field in fields(GuestKernel)),
            [tuple(asdict(kernel).values()) for kernel in self.kernels],
        )
        return Table(columns, rows, after=("", *said), machines=machines)
