# SPDX-License-Identifier: GPL-2.0-only
"""Pages that contain struct pages."""

from ..model.kernel_memory import MemmapPages
from .kind import Claims, Kind, Label, claims_of_ranges
from .structures import Structures


def _claims(structures: Structures) -> Claims:
    memmap = structures.memmap or MemmapPages()
    parts = (("struct pages", memmap.ranges), ("page_ext", memmap.extensions))
    return claims_of_ranges((Label(name), ranges) for name, ranges in parts)


MEMMAP = Kind(
    "memmap",
    "Pages that contain the struct pages.",
    "The kernel's page tables for the addresses of the struct pages of all memory sections.",
    may_claim=("kernel", "idle", "mapped", "reserved"),
    claims=_claims,
    needs=("memmap",),
    exact=True,
    counter="nr_memmap_boot_pages + nr_memmap_pages",
    commits=(
        (
            'Since Linux kernel commit 9d8573111024 ("mm: don\'t account memmap per-node") '
            "(in v6.11), the kernel counts them in nr_memmap_boot_pages and nr_memmap_pages"
        ),
    ),
    limits="Struct pages that are in the memory of a device belong to device.",
)
