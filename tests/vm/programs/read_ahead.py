# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: have pages of shared memory in the swap cache, where no file has them.

A memory cgroup allows a part of what is written; the rest goes to the swap that there is, a disk.
What is read back comes with its neighbours on the disk, which stay in the swap cache. Prints a line
when all is done, and sleeps.
"""

import mmap
import os
import sys
import time

from swap_and_merge import PAGE, enter_cgroup

PAGES = 8 << 10
STEP = 16


def main() -> None:
    enter_cgroup()
    file = os.memfd_create("swapped")
    os.truncate(file, PAGES * PAGE)
    memory = mmap.mmap(file, PAGES * PAGE)
    noise = os.urandom(PAGE)
    for page in range(PAGES):
        memory[page * PAGE : (page + 1) * PAGE] = page.to_bytes(8, "little") + noise[8:]
    for page in range(0, PAGES // 4, STEP):
        assert memory[page * PAGE] == page & 255
    sys.stdout.write("\n")
    sys.stdout.flush()
    time.sleep(3600)


main()
