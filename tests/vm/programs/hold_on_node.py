# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: touches pages that are bound to a node, and says how many it has there.

Arguments: the node and the number of pages. Prints what /proc/self/numa_maps has of that node, but
for files, whose pages stay; and ends, which frees them, under the name "holder".
"""

import ctypes
import mmap
import os
import re
import sys
from pathlib import Path

SYS_SET_MEMPOLICY, MPOL_BIND = 238, 2


def main() -> None:
    node, pages = map(int, sys.argv[1:])
    Path("/proc/self/comm").write_text("holder")
    # The last pages it touches wait on a list of the CPU, which it empties at its end there.
    os.sched_setaffinity(0, {0})
    held = mmap.mmap(-1, pages * 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    held.madvise(mmap.MADV_NOHUGEPAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(held))
    libc, mask = ctypes.CDLL(None), ctypes.c_ulong(1 << node)
    if libc.syscall(SYS_SET_MEMPOLICY, MPOL_BIND, ctypes.byref(mask), 64):
        sys.exit("no such node")
    ctypes.memset(address, 1, pages * 4096)
    maps = Path("/proc/self/numa_maps").read_text().splitlines()
    own = "\n".join(line for line in maps if " file=" not in line)
    sys.stdout.write(f"held {sum(map(int, re.findall(rf' N{node}=([0-9]+)', own)))}\n")


main()
