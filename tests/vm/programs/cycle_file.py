# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: read the first pages of the file argv[1], drop them, and read them again.

Prints {"device": "MAJOR:MINOR", "inode": N, "pfns": [...]} when they are in the page cache, waits
for a line, and prints the pfns that they have after they were dropped and read again.
"""

import json
import mmap
import os
import struct
import sys
from pathlib import Path

PAGES = 16
_PFN = (1 << 55) - 1


def pfns(path: str) -> list[int]:
    """Return where the pages are in the page cache, by the kernel's own pagemap."""
    with Path(path).open("rb") as file:
        mapped = mmap.mmap(file.fileno(), PAGES * mmap.PAGESIZE, prot=mmap.PROT_READ)
    with mapped:
        for page in range(PAGES):
            _ = mapped[page * mmap.PAGESIZE]
        lines = Path("/proc/self/maps").read_text().splitlines()
        start = int(next(line for line in lines if line.endswith(path)).split("-")[0], 16)
        with Path("/proc/self/pagemap").open("rb") as pagemap:
            pagemap.seek(start // mmap.PAGESIZE * 8)
            words = struct.unpack(f"<{PAGES}Q", pagemap.read(8 * PAGES))
    return [word & _PFN for word in words]


def say(found: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


name = sys.argv[1]
status = Path(name).stat()
device = f"{os.major(status.st_dev)}:{os.minor(status.st_dev)}"
say({"device": device, "inode": status.st_ino, "pfns": pfns(name)})
sys.stdin.readline()
with Path(name).open("rb") as opened:
    os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
say({"pfns": pfns(name)})
