# SPDX-License-Identifier: GPL-2.0-only
"""Memory that was allocated at boot, before the page allocator."""

from ..model.kernel_memory import BootReserved
from .kind import Claims, Kind, Label, claims_of_ranges
from .structures import Structures


def _claims(structures: Structures) -> Claims:
    boot = structures.boot or BootReserved()
    return claims_of_ranges(((Label("memblock"), boot.ranges),))


BOOT = Kind(
    "boot",
    "Memory that was allocated at boot, before the page allocator, and that belongs to no other "
    "kind.",
    "memblock.reserved.",
    may_claim=("reserved",),
    claims=_claims,
    needs=("boot",),
    rest=True,
    limits="memblock.reserved also lists memory that was freed since: only pages of use reserved "
    "are taken from it. It does not show what a page was allocated for.",
)
