"""Run in a guest: /proc/kpageflags, kpagecount and kpageflags again, read with little disturbance.

Reads them into memory that was touched before, says "captured" on stdout and spins, which changes
no page, so that the host can pause and dump the guest at once. Run on, it writes the three to the
files that its arguments name once its stdin ends.
"""

import mmap
import os
import select
import sys
from pathlib import Path

FILES = ("/proc/kpageflags", "/proc/kpagecount", "/proc/kpageflags")
PIECE = 1 << 20
MOST = 8 << 20
"""Bytes kept of each file: enough for 4 GiB of memory with the hole below 4G."""


def read_into(descriptor: int, into: memoryview) -> int:
    at = 0
    while n := os.readv(descriptor, [into[at : at + PIECE]]):
        at += n
    return at


def main() -> None:
    buffers = []
    for _ in FILES:
        buffer = mmap.mmap(-1, MOST)
        buffer.write(b"\xff" * MOST)
        buffers.append(memoryview(buffer))
    descriptors = [os.open(file, os.O_RDONLY) for file in FILES]
    # Once for nothing: code and files are in memory afterwards, and what the above set off is over.
    for descriptor, buffer in zip(descriptors, buffers, strict=True):
        read_into(descriptor, buffer)
        os.lseek(descriptor, 0, os.SEEK_SET)
    # What comes after the reads as well: the pages of its code would be mapped only then.
    os.write(1, b"")
    select.select([0], [], [], 0)
    sizes = [read_into(d, b) for d, b in zip(descriptors, buffers, strict=True)]
    os.write(1, b"captured\n")
    while not select.select([0], [], [], 0)[0]:
        pass
    for path, buffer, size in zip(sys.argv[1:], buffers, sizes, strict=True):
        Path(path).write_bytes(buffer[:size])


main()
