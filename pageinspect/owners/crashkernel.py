# SPDX-License-Identifier: GPL-2.0-only
"""Memory that is reserved for a crash kernel."""

from ..model.kernel_memory import Resources
from .iomem import is_crash_kernel, ranges_of
from .kind import Claims, Kind, Label, claims_of_ranges
from .structures import Structures


def _claims(structures: Structures) -> Claims:
    found = ranges_of(structures.resources or Resources(), is_crash_kernel)
    return claims_of_ranges((Label(name), ranges) for name, ranges in found.items())


CRASHKERNEL = Kind(
    "crashkernel",
    "Memory that is reserved for a crash kernel.",
    "The resources named Crash kernel in iomem_resource, as in /proc/iomem.",
    may_claim=("reserved", "kernel", "idle"),
    claims=_claims,
    needs=("resources",),
)
