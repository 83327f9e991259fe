# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: make pages of every use that a process can make, and say which they are.

Prints one JSON object {"pfns": {use: [pfn, …]}, "tables": [before, after], "pipes": number,
"page_pool": pages} and then sleeps with them: pfns from /proc/self/pagemap, page tables by VmPTE
around the making of TABLES of them, pipes whose buffers are 160 KiB of kmalloc each, and what a
page_pool says that it has in flight.
"""

import ctypes
import fcntl
import json
import mmap
import os
import struct
import sys
import time
from pathlib import Path

from page_pools import in_flight

PAGE = 4096
PAGES = 512
MADV_HUGEPAGE = 14
TABLES = 512
PIPES = 16
PIPE_BYTES = 16 << 20
F_SETPIPE_SZ = 1031
MAP_NORESERVE = 0x4000
KSM = Path("/sys/kernel/mm/ksm")


def address_of(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def pfns(memory: mmap.mmap, pages: int) -> list[int]:
    with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
        entries = os.pread(pagemap.fileno(), 8 * pages, address_of(memory) // PAGE * 8)
    return [e & (1 << 55) - 1 for (e,) in struct.iter_unpack("<Q", entries) if e >> 63]


def touch(memory: mmap.mmap, pages: int) -> None:
    for page in range(pages):
        memory[page * PAGE] = 1 + page % 250


def anonymous() -> mmap.mmap:
    memory = mmap.mmap(-1, PAGES * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(PAGES):
        memory[page * PAGE : page * PAGE + 8] = os.urandom(8)
    return memory


def huge() -> mmap.mmap:
    memory = mmap.mmap(-1, 4 * PAGES * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory.madvise(MADV_HUGEPAGE)
    touch(memory, 4 * PAGES)
    return memory


def merged() -> mmap.mmap:
    """Return pages that KSM has merged: all the same, of two values."""
    memory = mmap.mmap(-1, PAGES * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for page in range(PAGES):
        memory[page * PAGE : (page + 1) * PAGE] = bytes([17 + page % 2]) * PAGE
    memory.madvise(mmap.MADV_MERGEABLE)
    (KSM / "pages_to_scan").write_text("10000")
    (KSM / "run").write_text("1")
    for _ in range(600):
        if int((KSM / "pages_sharing").read_text()) >= PAGES - 2:
            break
        time.sleep(0.1)
    (KSM / "run").write_text("0")
    return memory


def shared() -> mmap.mmap:
    memory = mmap.mmap(-1, PAGES * PAGE, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
    touch(memory, PAGES)
    return memory


def of_a_file() -> mmap.mmap:
    with Path("/dev/vda").open("rb") as disk:
        memory = mmap.mmap(
            disk.fileno(), PAGES * PAGE, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE
        )
    for page in range(PAGES):
        memory[page * PAGE]
    return memory


def page_tables() -> int:
    """Return the page tables of this process: others come and go."""
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("VmPTE:"))
    return int(kilobytes) * 1024 // PAGE


def spread() -> mmap.mmap:
    """Return memory with one page in each 2 MiB: a page table for each."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
    memory = mmap.mmap(-1, TABLES << 21, flags)
    memory.madvise(mmap.MADV_NOHUGEPAGE)
    for place in range(0, TABLES << 21, 1 << 21):
        memory[place] = 1
    return memory


def pipes() -> list[tuple[int, int]]:
    """Return pipes of 4096 buffers of 40 bytes, each an array of 64 pages after rounding."""
    Path("/proc/sys/fs/pipe-max-size").write_text(str(PIPE_BYTES))
    made = [os.pipe() for _ in range(PIPES)]
    for _, end in made:
        fcntl.fcntl(end, F_SETPIPE_SZ, PIPE_BYTES)
    return made


def main() -> None:
    made = {
        "anon": anonymous(),
        "thp": huge(),
        "ksm": merged(),
        "shmem": shared(),
        "file": of_a_file(),
    }
    before = page_tables()
    held = (spread(), pipes())
    tables = page_tables()
    # Pages stay what they are from here on: khugepaged collapses none of them, nobody moves them.
    Path("/sys/kernel/mm/transparent_hugepage/enabled").write_text("never")
    Path("/proc/sys/vm/compaction_proactiveness").write_text("0")
    report = {
        "pfns": {use: pfns(memory, len(memory) // PAGE) for use, memory in made.items()},
        "tables": [before, tables],
        "pipes": len(held[1]),
        "page_pool": in_flight(PAGES),
    }
    json.dump(report, sys.stdout)
    sys.stdout.write("\n")
    sys.stdout.flush()
    time.sleep(3600)


main()
