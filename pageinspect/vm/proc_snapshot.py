"""The kernel's own files, taken right before it is made to panic. Standard library only.

Run in the guest as a program, it reads the files of NAMES, writes them to the disk DISK_SERIAL and
panics the kernel; the host takes them from that disk. What it needs is in memory before: between
the last read and the panic next to no page changes, so that the dump is of the same moment. The
disk starts with a block of JSON, {name: [offset, bytes]}.
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
"""Files below /proc in the order they are read, the second reading of one with `.again`."""

DISK_SERIAL = "snapshot"
"""Serial of the disk."""

_BLOCK = 4096
_CHUNK = 1 << 20
_SETTLE_S = 2.5
_LARGEST_DISK = 1 << 48


class _ProcFile:
    """One file, open, and memory for its content."""

    def __init__(self, name: str) -> None:
        self._file = os.open(f"/proc/{name.removesuffix('.again')}", os.O_RDONLY)
        self._buffer = memoryview(bytearray(_CHUNK))
        length = 0
        while count := os.readv(self._file, [self._buffer]):
            length += count
        # Twice as much, for text that grows.
        self._buffer = _populated(2 * length + _BLOCK)

    def read(self) -> int:
        """Read the file anew and return its size in bytes."""
        os.lseek(self._file, 0, os.SEEK_SET)
        at = 0
        while count := os.readv(self._file, [self._buffer[at : at + _CHUNK]]):
            at += count
        return at

    def write(self, disk: int, offset: int, length: int) -> int:
        """Write so much of it to the disk, and return where the next may start."""
        end = -(-length // _BLOCK) * _BLOCK
        for at in range(0, end, _CHUNK):
            os.pwrite(disk, self._buffer[at : min(at + _CHUNK, end)], offset + at)
        return offset + end


def _populated(size: int) -> memoryview:
    """Return memory that has its pages."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE
    return memoryview(mmap.mmap(-1, -(-size // _BLOCK) * _BLOCK, flags=flags))


def _write_snapshot(files: list[_ProcFile], header: memoryview, disk: int) -> None:
    at, index = _BLOCK, {}
    # Each is written before the next is read: the last says what changed, and is nearest the end.
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
    """Take the files and panic."""
    # Past the page cache, which would take thousands of pages.
    disk = os.open(_find(DISK_SERIAL), os.O_RDWR | os.O_DIRECT)
    panic = os.open("/proc/sysrq-trigger", os.O_WRONLY)
    header = _populated(_BLOCK)
    files = [_ProcFile(name) for name in NAMES]
    # A rehearsal: what only the first reading and writing sets off is over afterwards, and each CPU
    # has given back what its free lists need no longer, as it does a second later.
    _write_snapshot(files, header, disk)
    time.sleep(_SETTLE_S)
    _write_snapshot(files, header, disk)
    os.write(panic, b"c")


class NoSnapshotError(ValueError):
    """The guest left nothing on its disk."""


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
