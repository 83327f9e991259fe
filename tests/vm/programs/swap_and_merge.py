# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: have anonymous memory in swap and in the swap cache, and some merged by KSM.

A memory cgroup allows a third of what is touched; the rest goes to the swap that there is. A child
keeps the swap entries of its parent, so that what the parent reads back is in the swap cache as
well. Prints a line when all is done, and sleeps.
"""

import mmap
import os
import sys
import time
from pathlib import Path

PAGE = 4096
PAGES = 4 << 10
LIMIT = 6 << 20
MERGED = 256
CGROUP = Path("/sys/fs/cgroup")
KSM = Path("/sys/kernel/mm/ksm")


def enter_cgroup() -> None:
    (CGROUP / "cgroup.subtree_control").write_text("+memory")
    small = CGROUP / "small"
    small.mkdir()
    (small / "memory.max").write_text(str(LIMIT))
    (small / "cgroup.procs").write_text("0")


def anonymous(pages: int) -> mmap.mmap:
    memory = mmap.mmap(-1, pages * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memory


def merged() -> mmap.mmap:
    memory = anonymous(MERGED)
    memory.madvise(mmap.MADV_MERGEABLE)
    memory[:] = bytes([23]) * len(memory)
    (KSM / "pages_to_scan").write_text("1000")
    (KSM / "run").write_text("1")
    while int((KSM / "pages_sharing").read_text()) < MERGED // 2:
        time.sleep(0.1)
    return memory


def main() -> None:
    same = merged()
    enter_cgroup()
    memory = anonymous(PAGES)
    noise = os.urandom(PAGE)
    for page in range(PAGES):
        memory[page * PAGE : (page + 1) * PAGE] = page.to_bytes(8, "little") + noise[8:]
    if not os.fork():
        time.sleep(3600)
    for page in range(PAGES):
        assert memory[page * PAGE] == page & 255
    assert same[0] == same[-1]
    sys.stdout.write("\n")
    sys.stdout.flush()
    time.sleep(3600)


if __name__ == "__main__":
    main()
