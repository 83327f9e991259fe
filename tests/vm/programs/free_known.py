# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: hold pages that are known, and free them when told to.

argv: a name for this task in hexadecimal, the CPU to run on, how many pages to hold, how many huge
ones, and a zram device, which is reset after they are freed. Prints what it holds as JSON: its pid,
the pages of the device, the pfn of each page, and the first one of each huge page. Frees at the
first line that it reads, then prints a line, and ends at the second.
"""

import ctypes
import json
import mmap
import os
import struct
import sys
from pathlib import Path

PAGE, HUGE = 4096, 2 << 20
_PFN = (1 << 55) - 1


def hold(size: int, advice: int) -> tuple[mmap.mmap, int]:
    """Return anonymous memory from a multiple of 2 MiB on, touched, and its address."""
    memory = mmap.mmap(-1, size + HUGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(advice)
    mapped = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    start = -(-mapped // HUGE) * HUGE
    for offset in range(start - mapped, start - mapped + size, PAGE):
        memory[offset] = 1
    return memory, start


def pfns(start: int, size: int, step: int) -> list[int]:
    with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
        entries = os.pread(pagemap.fileno(), size // PAGE * 8, start // PAGE * 8)
    return [entry & _PFN for (entry,) in struct.iter_unpack("Q", entries)][:: step // PAGE]


name, cpu, pages, huge, zram = sys.argv[1:]
device = Path("/sys/block", zram)
os.sched_setaffinity(0, {int(cpu)})
small, small_start = hold(int(pages) * PAGE, mmap.MADV_NOHUGEPAGE)
large, large_start = hold(int(huge) * HUGE, mmap.MADV_HUGEPAGE)
held = {
    "pid": os.getpid(),
    "zram": int((device / "mm_stat").read_text().split()[2]) // PAGE,
    "small": pfns(small_start, int(pages) * PAGE, PAGE),
    "large": pfns(large_start, int(huge) * HUGE, HUGE),
}
Path("/proc/self/comm").write_bytes(bytes.fromhex(name))
print(json.dumps(held), flush=True)  # noqa: T201
sys.stdin.readline()
small.madvise(mmap.MADV_DONTNEED)
large.madvise(mmap.MADV_DONTNEED)
(device / "reset").write_text("1")
print("freed", flush=True)  # noqa: T201
sys.stdin.readline()
