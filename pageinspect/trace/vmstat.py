# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's counters of allocated and freed pages, beside those of a program."""

from collections.abc import Callable
from pathlib import Path

from .held_blocks import BesideVmstat

_VMSTAT = Path("/proc/vmstat")
_TRIES = 16


def vmstat_pages(text: str) -> tuple[int, int]:
    """Return the sums of pgalloc and pgfree of the text of /proc/vmstat."""
    allocated = freed = 0
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name.startswith("pgalloc_"):
            allocated += int(value)
        elif name == "pgfree":
            freed = int(value)
    return allocated, freed


def read_beside(count: Callable[[], tuple[int, int]], vmstat: Path = _VMSTAT) -> BesideVmstat:
    """Return pages by the kernel's counters and by a program's, of nearly the same moment.

    `count` returns the pages that the program has seen allocated and freed. Other CPUs go on while
    the file is read: of some readings, the one in which they did least counts, and the numbers of
    the program are means of those before and after it.
    """
    least, found = float("inf"), BesideVmstat()
    for _ in range(_TRIES):
        before = count()
        pages = vmstat_pages(vmstat.read_text(encoding="ascii"))
        after = count()
        apart = sum(after) - sum(before)
        if apart < least:
            allocated, freed = ((a + b) // 2 for a, b in zip(before, after, strict=True))
            least, found = apart, BesideVmstat(*pages, allocated, freed)
        if not apart:
            break
    return found
