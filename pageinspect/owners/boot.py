# SPDX-License-Identifier: GPL-2.0-only
"""Memory that was allocated at boot, before the page allocator."""

from collections.abc import Iterable, Iterator

from ..model.ranges import Range
from .kind import Claims, Kind, Label, claims_of_ranges
from .structures import Structures


def _claims(structures: Structures) -> Claims:
    return claims_of_ranges(_parts(structures))


def _parts(structures: Structures) -> Iterator[tuple[Label, Iterable[Range]]]:
    if structures.boot_tables is not None:
        for name, table in structures.boot_tables.tables:
            yield Label(name), (table,)
    assert structures.boot is not None
    yield Label("memblock"), structures.boot.ranges


BOOT = Kind(
    "boot",
    "Memory that was allocated at boot, by memblock: hash tables by name, and the rest as "
    "memblock.",
    "memblock.reserved, and the variables that refer to tables allocated at boot.",
    may_claim=("reserved",),
    claims=_claims,
    needs=("boot",),
    limits="memblock.reserved also lists memory that was freed since: only reserved pages are "
    "claimed by it. It does not show what a page was allocated for.",
)
