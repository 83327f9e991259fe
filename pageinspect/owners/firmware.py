# SPDX-License-Identifier: GPL-2.0-only
"""Reserved memory of the firmware and of devices."""

from collections.abc import Iterable, Iterator

from ..model.kernel_memory import Resources
from ..model.ranges import Range
from .iomem import is_firmware, outside, ranges_of
from .kind import Claims, Kind, Label, claims_of_ranges
from .structures import Structures

_END = 1 << 40
"""One after the last pfn of physical addresses of 52 bits."""


def _claims(structures: Structures) -> Claims:
    return claims_of_ranges(_parts(structures))


def _parts(structures: Structures) -> Iterator[tuple[Label, Iterable[Range]]]:
    resources = structures.resources or Resources(whole=False)
    for name, ranges in ranges_of(resources, is_firmware).items():
        yield Label(name), ranges
    if resources.whole:
        yield Label("not in iomem"), outside(resources, _END)


FIRMWARE = Kind(
    "firmware",
    "Reserved pages that are not RAM: memory of the firmware and of devices, by its name in "
    "/proc/iomem. Pages outside all resources have the name `not in iomem`.",
    "The innermost resource of iomem_resource, other than System RAM, the kernel's image and "
    "Crash kernel.",
    may_claim=("reserved",),
    claims=_claims,
    needs=("resources",),
    limits="A page that two resources share has the name of the one with the higher address.",
)
