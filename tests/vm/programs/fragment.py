# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: fragments its memory, with the module spread_pages in it.

    fragment.py [HOLE_EVERY LEFT_BY_MODULE]

Fills memory with anonymous pages, and prints their number. After a line of input, it frees some
pages of every second 2 MiB, has the module take what is free then, and gives back all pages but one
in each of some other 2 MiB. Prints the pfns of these, and keeps them until its input ends.

So the module's pages are between pages of a process when it gets them, and their pageblocks stay
movable.
"""

import ctypes
import json
import mmap
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

PAGE, PER_BLOCK = 4096, 512
LEFT = 16 << 10
"""Pages that are not filled."""
HOLE_EVERY, LEFT_BY_MODULE = map(int, sys.argv[1:] or (32, 4 << 10))
"""The distance of freed pages in a block, so that more than half of it stays in use; and the pages
that are free when the module has taken its share."""
MOST_KEPT = 64
POPULATE_WRITE = 23
PAGES = Path("/sys/module/spread_pages/parameters/pages")

Numbers = npt.NDArray[np.int64]


def in_meminfo(name: str) -> int:
    """Return a number of pages."""
    meminfo = Path("/proc/meminfo").read_text()
    return int(re.findall(rf"^{name}:\s+(\d+) kB$", meminfo, re.MULTILINE)[0]) * 1024 // PAGE


def pfns_at(address: int, pages: int) -> Numbers:
    with Path("/proc/self/pagemap").open("rb") as file:
        file.seek(address // PAGE * 8)
        words = np.frombuffer(file.read(pages * 8), np.int64)
    return words & ((1 << 55) - 1)


def runs(pages: Numbers) -> Iterator[tuple[int, int]]:
    """Yield the first and the number of pages that follow each other."""
    for part in np.split(pages, np.flatnonzero(np.diff(pages) != 1) + 1):
        yield int(part[0]), len(part)


def free(memory: mmap.mmap, pages: Numbers) -> None:
    for first, number in runs(pages):
        memory.madvise(mmap.MADV_DONTNEED, first * PAGE, number * PAGE)


def say(what: object) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def main() -> None:
    pages = in_meminfo("MemAvailable") - LEFT
    memory = mmap.mmap(-1, pages * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    memory.madvise(POPULATE_WRITE)
    say({"filled": pages})
    sys.stdin.readline()
    pfns = pfns_at(ctypes.addressof(ctypes.c_char.from_buffer(memory)), pages)
    blocks, places = np.divmod(pfns, PER_BLOCK)
    full = np.bincount(blocks)[blocks] == PER_BLOCK
    hole = full & (blocks % 2 == 0) & (places % HOLE_EVERY == 0)
    free(memory, np.flatnonzero(hole))
    PAGES.write_text(str(in_meminfo("MemFree") - LEFT_BY_MODULE))
    keep = np.flatnonzero(full & (blocks % 2 == 1) & (places == HOLE_EVERY))
    keep = keep[:: -(-len(keep) // MOST_KEPT)]
    free(memory, np.delete(np.arange(pages), keep))
    say({"kept": pfns[keep].tolist()})
    sys.stdin.read()


main()
