# SPDX-License-Identifier: GPL-2.0-only
"""Memory that the kernel allocated for itself, and that one of its variables refers to."""

from ..model.owner_memory import StaticMemory
from .kind import Claims, Kind, Label, claims_of_ranges
from .structures import Structures


def _claims(structures: Structures) -> Claims:
    static = structures.static or StaticMemory()
    return claims_of_ranges((Label(name), (pages,)) for name, pages in static.parts)


STATIC = Kind(
    "static",
    "Memory that the kernel allocated for itself, by what it is for: hash tables of the file "
    "systems and of the network, the pools for atomic DMA, the huge zero page.",
    "Variables of the kernel that refer to the memory, such as dentry_hashtable, and those that "
    "have its size.",
    may_claim=("reserved", "kernel", "idle"),
    claims=_claims,
    needs=("static",),
    exact=True,
    commits=(
        (
            'Since Linux kernel commit 5691753d73a2 ("mm: convert huge_zero_page to '
            'huge_zero_folio") (in v6.10), the huge zero page is in huge_zero_folio'
        ),
    ),
    limits="Only the variables in kernel/static_memory.py are read.",
)
