# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: two processes that free pages on CPU 0, one of which preempts the other.

argv: how often the one frees pages, with a pause before, and how many at once. Meanwhile the other
frees without a pause. The names of their tasks are "preempting" and "preempted".
"""

import mmap
import os
import sys
import time
from pathlib import Path

PAGE = 4096
POPULATED = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
PAUSE = 0.0005


def free(pages: int) -> None:
    mmap.mmap(-1, pages * PAGE, POPULATED).close()


times, pages = map(int, sys.argv[1:])
os.sched_setaffinity(0, {0})
child = os.fork()
if not child:
    Path("/proc/self/comm").write_text("preempted")
    while True:
        free(1024)
try:
    Path("/proc/self/comm").write_text("preempting")
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    for _ in range(times):
        time.sleep(PAUSE)
        free(pages)
finally:
    os.kill(child, 9)
