# SPDX-License-Identifier: GPL-2.0-only
"""The pages of resources of physical memory, each with the name of the innermost resource."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from ..model.kernel_memory import Resource, Resources
from ..model.ranges import Range
from .kind import first_covering

_RAM = "System RAM"
_CRASH = "Crash kernel"
_IMAGE = "Kernel "


def is_crash_kernel(resource: Resource) -> bool:
    """Return whether the memory is reserved for a crash kernel."""
    return resource.name == _CRASH


def is_firmware(resource: Resource) -> bool:
    """Return whether the memory is neither RAM, the kernel's image, nor for a crash kernel."""
    return resource.name not in (_RAM, _CRASH) and not resource.name.startswith(_IMAGE)


def ranges_of(resources: Resources, wanted: Callable[[Resource], bool]) -> dict[str, list[Range]]:
    """Return the disjoint ranges of pages by the name of the innermost resource, if it is wanted.

    Of two resources that share a page, the one with the higher address has it.
    """
    listed = resources.resources
    bounds = np.array([(r.start_pfn, r.end_pfn) for r in listed], np.int64).reshape(-1, 2)
    # A parent comes before its children.
    edges, found_last = first_covering(bounds[::-1])
    innermost = np.where(found_last >= 0, len(listed) - 1 - found_last, -1)
    found: dict[str, list[Range]] = {}
    for (start, end), i in zip(pairwise(edges.tolist()), innermost.tolist(), strict=True):
        if i >= 0 and wanted(listed[i]):
            found.setdefault(listed[i].name or "(no name)", []).append((start, end))
    return found


def outside(resources: Resources, end: int) -> list[Range]:
    """Return the ranges of pages below `end` that no resource overlaps."""
    found: list[Range] = []
    at = 0
    for start, stop in sorted((r.start_pfn, r.end_pfn) for r in resources.resources):
        if start > at:
            found.append((at, min(start, end)))
        at = max(at, stop)
        if at >= end:
            break
    else:
        found.append((at, end))
    return found
