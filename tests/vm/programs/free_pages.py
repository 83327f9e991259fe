# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: have argv[1] MiB of memory freed argv[2] times, page by page.

Prints by how much the kernel's own count of freed pages, pgfree of /proc/vmstat, grew meanwhile.
"""

import os
import sys
from pathlib import Path


def pgfree() -> int:
    lines = Path("/proc/vmstat").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("pgfree "))


size, times = int(sys.argv[1]) << 20, int(sys.argv[2])
before = pgfree()
# Pages of a file in memory that are never touched cost an emulated guest least.
file = os.memfd_create("pages")
for _ in range(times):
    os.posix_fallocate(file, 0, size)
    os.ftruncate(file, 0)
sys.stdout.write(f"{pgfree() - before}\n")
