# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: write what its kernel says of its memory, read so that little changes by that.

owner_witness.py FOLDER adds to what FOLDER/made.json has. It is a program of its own, so that it
shares no page with other processes that it would be given its own copy of.

All files are open and all memory is touched before anything is kept. The texts are read three
times: once so that what a first reading allocates is there, and twice to show what moved. Nothing
runs in between but this; they are written to files only after the host has dumped the guest.
"""

import ctypes
import gc
import json
import mmap
import os
import resource
import select
import struct
import sys
import time
from pathlib import Path
from typing import Any

PAGE = 4096
CAPTURED = "owners: captured"
"""Line on the console: from here on this program only spins. The agent that starts programs in the
guest would change its own memory if it had to pass it on."""

OF_A_PROCESS = ("status", "stat", "cgroup")
"""And smaps_rollup, which a kernel thread does not have."""
OF_THE_KERNEL = (
    *("iomem", "modules", "swaps", "mounts", "sysvipc/shm", "pagetypeinfo", "buddyinfo"),
    *("slabinfo", "zoneinfo", "meminfo", "vmallocinfo", "vmstat"),
)
"""Files below /proc in the order that they are read; the counters that move most come last."""
OF_PAGES = ("kpageflags", "kpagecount", "kpagecgroup")
"""Files of 8 bytes per pfn."""
AFTER = ".after"
"""Ends the name of kpageflags as it was read once more when the guest had been dumped."""
SYSFS = ("block/zram*/mm_stat", "kernel/mm/hugepages/*/*_hugepages", "kernel/mm/ksm/pages_*")
CGROUPS = "/sys/fs/cgroup"


def touched(size: int) -> memoryview:
    buffer = mmap.mmap(-1, -(-size // PAGE) * PAGE)
    for at in range(0, len(buffer), PAGE):
        buffer[at] = 255
    return memoryview(buffer)


class Source:
    """An open file, and memory for what it gives."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDONLY)
        self._buffer = memoryview(bytearray(1 << 20))
        length = self._read()
        self.whole = length < len(self._buffer)
        self._buffer = touched(length + length // 4 + PAGE)
        self._kept = touched(len(self._buffer))
        self.length = self.before = 0

    def _read(self) -> int:
        at = 0
        os.lseek(self._file, 0, os.SEEK_SET)
        while n := os.readv(self._file, [self._buffer[at:]]):
            at += n
        return at

    def read(self) -> None:
        """Read the file, and keep what was read before."""
        self._buffer, self._kept = self._kept, self._buffer
        self.before = self.length
        self.length = self._read()

    @property
    def text(self) -> str:
        return bytes(self._buffer[: self.length]).decode("utf-8", "surrogateescape")

    @property
    def moved(self) -> bool:
        return self._buffer[: self.length] != self._kept[: self.before]


class Pages:
    """A file of 8 bytes per pfn; what is written has its name and `suffix`."""

    def __init__(self, path: str, suffix: str = "") -> None:
        self._name = Path(path).name + suffix
        self._file = os.open(path, os.O_RDONLY)
        size = 0
        while n := len(os.read(self._file, 1 << 20)):
            size += n
        # Only memory that is plugged in makes it longer.
        self._buffer = touched(size)
        self._length = 0

    def read(self) -> None:
        os.lseek(self._file, 0, os.SEEK_SET)
        at = 0
        while n := os.readv(self._file, [self._buffer[at : at + (1 << 20)]]):
            at += n
        self._length = at

    def write(self, folder: Path) -> None:
        (folder / self._name).write_bytes(self._buffer[: self._length])


def _sources() -> list[Source]:
    found = [str(path) for pattern in SYSFS for path in sorted(Path("/sys").glob(pattern))]
    found += [str(path) for path in sorted(Path(CGROUPS).rglob("memory.stat"))]
    pids = sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    own = os.getpid()
    for pid in (*(pid for pid in pids if pid != own), own):
        found += [f"/proc/{pid}/{name}" for name in OF_A_PROCESS]
        if Path(f"/proc/{pid}/maps").read_text():
            found.append(f"/proc/{pid}/smaps_rollup")
    return [Source(path) for path in (*found, *(f"/proc/{name}" for name in OF_THE_KERNEL))]


def resident(descriptor: int, size: int) -> list[int]:
    """Return the pages of a file that are in the page cache, by mincore(): nothing is touched."""
    if not size:
        return []
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    address = libc.mmap(None, size, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, 0)
    assert address not in (None, ctypes.c_void_p(-1).value), os.strerror(ctypes.get_errno())
    pages = -(-size // PAGE)
    vector = ctypes.create_string_buffer(pages)
    where = ctypes.c_void_p(address)
    assert libc.mincore(where, ctypes.c_size_t(size), vector) == 0
    libc.munmap(where, ctypes.c_size_t(size))
    return [page for page, there in enumerate(vector.raw[:pages]) if there & 1]


def pfn_of(pid: int, address: int) -> int | None:
    """Return the pfn that a process has at an address."""
    with Path(f"/proc/{pid}/pagemap").open("rb", buffering=0) as pagemap:
        data = os.pread(pagemap.fileno(), 8, address // PAGE * 8)
    (entry,) = struct.unpack("<Q", data)
    return entry & (1 << 55) - 1 if entry >> 63 else None


def capture(made: dict[str, Any], folder: Path) -> None:
    """Read all, say so on the console, and spin until standard input has something or ends."""
    limit = 1 << 14
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    console = os.open("/dev/console", os.O_WRONLY | os.O_NOCTTY)
    refresh = os.open("/proc/sys/vm/stat_refresh", os.O_WRONLY)
    line = f"{CAPTURED}\n".encode()
    pages = [Pages(f"/proc/{name}") for name in OF_PAGES if Path(f"/proc/{name}").exists()]
    after = Pages("/proc/kpageflags", AFTER)
    sources = _sources()
    gc.collect()
    gc.freeze()
    gc.disable()
    os.write(console, b"owners: reading\n")
    select.select([0], [], [], 0)
    for _ in range(3):
        # What was freed with a delay is gone by then, and what is read is of nearly one moment.
        time.sleep(2)
        for each in pages:
            each.read()
        os.write(refresh, b"1")
        for each in sources:
            each.read()
    os.write(console, line)
    while not select.select([0], [], [], 0)[0]:
        pass
    after.read()
    witness = {
        **made,
        "release": os.uname().release,
        "pid": os.getpid(),
        "texts": {each.path: each.text for each in sources},
        "moved": [each.path for each in sources if each.moved],
        "cut": [each.path for each in sources if not each.whole],
    }
    (folder / "witness.json").write_text(json.dumps(witness))
    for each in (*pages, after):
        each.write(folder)


def main() -> None:
    folder = Path(sys.argv[1])
    capture(json.loads((folder / "made.json").read_text()), folder)


if __name__ == "__main__":
    main()
