# SPDX-License-Identifier: GPL-2.0-only
"""Files of /proc, saved right before the kernel is made to panic. Standard library only.

Run in the guest as a program, it reads the files of NAMES, writes them to the disk with the serial
DISK_SERIAL and panics the kernel; the host reads them from that disk. All memory is allocated
before, so almost no page changes between the last read and the panic, and the dump shows the same
state. The disk starts with a block of JSON, {name: [offset, bytes]}.
"""

import json
import mmap
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

NAMES = (
    "meminfo",
    "zoneinfo",
    "buddyinfo",
    "vmstat",
    "slabinfo",
    "kpageflags",
    "kpagecount",
    "kpageflags.again",
)
"""Files below /proc in the order they are read; `.again` marks the second reading of a file."""

DISK_SERIAL = "snapshot"
"""Serial of the disk."""

_BLOCK = 4096
_CHUNK = 1 << 20
_SETTLE_S = 2.5
_LARGEST_DISK = 1 << 48


class _ProcFile:
    """An open file of /proc, and memory for its content."""

    def __init__(self, name: str) -> None:
        self._file = os.open(f"/proc/{name.removesuffix('.again')}", os.O_RDONLY)
        self._buffer = memoryview(bytearray(_CHUNK))
        length = 0
        while count := os.readv(self._file, [self._buffer]):
            length += count
        # Twice as much, for text that grows.
        self._buffer = _populated(2 * length + _BLOCK)

    def read(self) -> int:
        """Read the file from its start and return its size in bytes."""
        os.lseek(self._file, 0, os.SEEK_SET)
        at = 0
        while count := os.readv(self._file, [self._buffer[at : at + _CHUNK]]):
            at += count
        return at

    def write(self, disk: int, offset: int, length: int) -> int:
        """Write `length` bytes to the disk at `offset`, and return the offset after them."""
        end = -(-length // _BLOCK) * _BLOCK
        for at in range(0, end, _CHUNK):
            os.pwrite(disk, self._buffer[at : min(at + _CHUNK, end)], offset + at)
        return offset + end


def _populated(size: int) -> memoryview:
    """Return memory whose pages are already allocated."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    return memoryview(mmap.mmap(-1, -(-size // _BLOCK) * _BLOCK, flags=flags))


def _write_snapshot(files: list[_ProcFile], header: memoryview, disk: int) -> None:
    at, index = _BLOCK, {}
    # Each file is written before the next is read, so that the last one is read shortly before the
    # panic and shows what changed.
    for name, file in zip(NAMES, files, strict=True):
        length = file.read()
        index[name] = [at, length]
        at = file.write(disk, at, length)
    text = json.dumps(index).encode()
    header[: len(text)] = text
    header[len(text) :] = b" " * (_BLOCK - len(text))
    os.pwrite(disk, header, 0)


def _find(serial: str) -> str:
    for path in Path("/sys/block").glob("vd*/serial"):
        if path.read_text() == serial:
            return f"/dev/{path.parent.name}"
    sys.exit(f"this guest has no disk {serial}")


def main() -> None:
    """Save the files and panic the kernel."""
    # O_DIRECT: the page cache would allocate thousands of pages.
    disk = os.open(_find(DISK_SERIAL), os.O_RDWR | os.O_DIRECT)
    panic = os.open("/proc/sysrq-trigger", os.O_WRONLY)
    header = _populated(_BLOCK)
    files = [_ProcFile(name) for name in NAMES]
    # A first pass, so that one-time allocations of reading and writing are over. After the delay
    # each CPU has also returned surplus pages of its free lists.
    _write_snapshot(files, header, disk)
    time.sleep(_SETTLE_S)
    _write_snapshot(files, header, disk)
    os.write(panic, b"c")


class NoSnapshotError(ValueError):
    """The disk has no complete snapshot."""


def read_index(disk: int) -> dict[str, tuple[int, int]]:
    """Return where on the guest's disk the files of NAMES are, as (offset, bytes).

    `disk` is a descriptor of the disk's file. Raises NoSnapshotError and OSError.
    """
    try:
        index = json.loads(os.pread(disk, _BLOCK, 0))
        places = {name: (int(index[name][0]), int(index[name][1])) for name in NAMES}
    except (ValueError, LookupError, TypeError, OverflowError, RecursionError):
        raise NoSnapshotError from None
    if any(not 0 <= number < _LARGEST_DISK for place in places.values() for number in place):
        raise NoSnapshotError
    return places


def content(disk: int, offset: int, length: int) -> Iterator[bytes]:
    """Yield the content of one file, in pieces."""
    while length and (data := os.pread(disk, min(length, _CHUNK), offset)):
        yield data
        offset, length = offset + len(data), length - len(data)


if __name__ == "__main__":
    main()
