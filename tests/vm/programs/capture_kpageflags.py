# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: /proc/kpageflags and kpagecount before the host dumps it, and both again after.

Reads them into memory that was touched before, says "captured" on stdout and spins, which changes
no page, so that the host can pause and dump the guest at once. It reads both again when its stdin
ends, for which the host lets it run on, and writes the four to the files that its arguments name:
flags and counts of before, then of after.
"""

import mmap
import os
import select
import sys
from pathlib import Path

FILES = ("/proc/kpageflags", "/proc/kpagecount")
PIECE = 1 << 20
MOST = 16 << 20
"""Bytes kept of each file: enough for memory that ends below 8 GiB, with the hole below 4G."""


def touched() -> memoryview:
    buffer = mmap.mmap(-1, MOST)
    # Page by page: what is written from would be freed, and a CPU's list give it back later on.
    for at in range(0, MOST, mmap.PAGESIZE):
        buffer[at] = 255
    return memoryview(buffer)


def read_into(descriptor: int, into: memoryview) -> int:
    os.lseek(descriptor, 0, os.SEEK_SET)
    at = 0
    while n := os.readv(descriptor, [into[at : at + PIECE]]):
        at += n
    return at


def main() -> None:
    before, after = ([touched() for _ in FILES] for _ in range(2))
    descriptors = [os.open(file, os.O_RDONLY) for file in FILES]

    def read(buffers: list[memoryview]) -> list[int]:
        return [read_into(d, b) for d, b in zip(descriptors, buffers, strict=True)]

    # Once for nothing: code and files are in memory afterwards, and what the above set off is over.
    read(after)
    read(before)
    # What comes after the reads as well: the pages of its code would be mapped only then.
    os.write(1, b"")
    select.select([0], [], [], 0)
    sizes = read(before)
    os.write(1, b"captured\n")
    while not select.select([0], [], [], 0)[0]:
        pass
    sizes += read(after)
    for path, buffer, size in zip(sys.argv[1:], before + after, sizes, strict=True):
        Path(path).write_bytes(buffer[:size])


main()
