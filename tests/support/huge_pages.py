# SPDX-License-Identifier: GPL-2.0-only
"""How many huge pages contiguity foretells for a guest, and how many it makes."""

import re
from typing import Any

from pageinspect.vm.guest import Guest

_NUMBER = "/sys/kernel/mm/hugepages/hugepages-{}kB/nr_hugepages"
_HUGE_ORDER, _PER_HUGE_PAGE = 9, 512
TIMEOUT_S = 400.0
"""For what goes through all memory of a guest, which took 70 s on a busy host."""


def foretold(guest: Guest, answer: dict[str, Any]) -> tuple[int, int]:
    """Return the least and the most huge pages of 2 MiB, by what contiguity said of a guest."""
    zones = [row for row in answer["blocks"] if row["order"] == _HUGE_ORDER]
    kept = _kept_back(guest)
    least = sum(
        max(0, zone["free_blocks"] - -(-kept[zone["zone"]] // _PER_HUGE_PAGE) - 1) for zone in zones
    )
    names = ("free", "movable", "reclaimable")
    return least, sum(zone[f"{name}_blocks"] for zone in zones for name in names)


def _kept_back(guest: Guest) -> dict[str, int]:
    """Return the pages of each zone that an allocation of a huge page does not touch."""
    text = guest.run(["cat", "/proc/zoneinfo"]).stdout.decode()
    found = {}
    for zone, part in re.findall(
        r"zone\s+(\w+)\n(.*?)(?=^Node|\Z)", text, re.DOTALL | re.MULTILINE
    ):
        least = re.search(r"\bmin\s+(\d+)", part)
        protection = re.search(r"protection: \(([\d, ]+)\)", part)
        if least and protection:
            # The fourth is for allocations that ZONE_MOVABLE is allowed for.
            found[zone] = int(least[1]) + int(protection[1].split(", ")[3])
    return found


def made(guest: Guest, wanted: int, kib: int = 2048) -> int:
    """Return how many huge pages a guest makes of so many; it gives them back."""
    number = _NUMBER.format(kib)
    words = f"echo {wanted} > {number}; cat {number}; echo 0 > {number}"
    return int(guest.run(["sh", "-c", words], timeout=TIMEOUT_S).stdout)


def compact(guest: Guest) -> None:
    guest.run(["sh", "-c", "echo 1 > /proc/sys/vm/compact_memory"], timeout=TIMEOUT_S)
