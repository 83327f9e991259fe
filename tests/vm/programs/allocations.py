# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: make memory that nothing leads to, and keep what the kernel says of all pages.

allocations.py FOLDER leaves the kernel's files of allocations in FOLDER. They are read into memory
that was there before, while the guest has nothing else to do. Then it says so on the console, and
spins until standard input ends.
"""

import fcntl
import mmap
import os
import select
import sys
from pathlib import Path

PAGE = 4096
CAPTURED = "allocations: captured"
PIPES, PIPE_BYTES = 4, 1 << 20
FILES = {
    "page_owner": ("/sys/kernel/debug/page_owner", 96 << 20),
    "allocinfo": ("/proc/allocinfo", 4 << 20),
}
"""Files by name, with the memory for each; the one that a reading changes least is the last."""


def full_pipes() -> list[int]:
    """Return pipes full of data: each has a page for 4096 bytes, and one large array for all."""
    descriptors = []
    for _ in range(PIPES):
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        for _ in range(PIPE_BYTES // PAGE):
            os.write(writer, bytes(PAGE))
        descriptors += [reader, writer]
    return descriptors


def touched(size: int) -> memoryview:
    buffer = mmap.mmap(-1, size)
    for at in range(0, size, PAGE):
        buffer[at] = 255
    return memoryview(buffer)


def read(file: int, buffer: memoryview) -> int:
    at = 0
    os.lseek(file, 0, os.SEEK_SET)
    while n := os.readv(file, [buffer[at : at + (1 << 20)]]):
        at += n
    assert at < len(buffer)
    return at


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True)
    kept = full_pipes()
    console = os.open("/dev/console", os.O_WRONLY | os.O_NOCTTY)
    files = {
        name: (os.open(path, os.O_RDONLY), touched(size))
        for name, (path, size) in FILES.items()
        if Path(path).exists()
    }
    # What a first reading allocates is there then.
    lengths = [[read(*file) for file in files.values()] for _ in range(2)][-1]
    os.write(console, f"{CAPTURED}\n".encode())
    while not select.select([0], [], [], 0)[0]:
        pass
    for (name, (_, buffer)), length in zip(files.items(), lengths, strict=True):
        (folder / name).write_bytes(buffer[:length])
    for descriptor in kept:
        os.close(descriptor)


main()
