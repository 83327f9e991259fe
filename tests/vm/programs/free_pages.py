"""Run in a guest: have argv[1] MiB of memory freed argv[2] times, page by page.

Prints by how much the kernel's own count of freed pages, pgfree of /proc/vmstat, grew meanwhile.
"""

import mmap
import sys
from pathlib import Path

# Since Linux kernel commit 4ca9b3859dac ("mm/madvise: introduce MADV_POPULATE_(READ|WRITE) to
# prefault page tables") (in v5.14).
MADV_POPULATE_WRITE = 23


def pgfree() -> int:
    lines = Path("/proc/vmstat").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("pgfree "))


size, times = int(sys.argv[1]) << 20, int(sys.argv[2])
before = pgfree()
for _ in range(times):
    with mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        memory.madvise(MADV_POPULATE_WRITE)
sys.stdout.write(f"{pgfree() - before}\n")
