# SPDX-License-Identifier: GPL-2.0-only
"""How much of a file this process has in memory, as the kernel counts it."""

from pathlib import Path


def resident(path: Path) -> dict[str, int]:
    """Return how much of a file's mappings is in memory, in bytes, by their rights."""
    found: dict[str, int] = {}
    rights = ""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        word = line.split()
        if "-" in word[0]:
            rights = word[1] if word[5:] == [str(path)] else ""
        elif rights and word[0] == "Rss:":
            found[rights] = found.get(rights, 0) + int(word[1]) * 1024
    return found
