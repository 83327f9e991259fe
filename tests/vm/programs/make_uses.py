"""Run in a guest: make pages of every use that a process can make, and say which they are.

Prints one JSON object {use: [pfn, …]}, from /proc/self/pagemap, and then sleeps with them.
"""

import ctypes
import json
import mmap
import os
import struct
import sys
import time
from pathlib import Path

PAGE = 4096
PAGES = 512
MADV_HUGEPAGE = 14
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


def main() -> None:
    made = {
        "anon": anonymous(),
        "thp": huge(),
        "ksm": merged(),
        "shmem": shared(),
        "file": of_a_file(),
    }
    json.dump({use: pfns(memory, len(memory) // PAGE) for use, memory in made.items()}, sys.stdout)
    sys.stdout.write("\n")
    sys.stdout.flush()
    time.sleep(3600)


main()
