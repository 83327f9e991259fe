# SPDX-License-Identifier: GPL-2.0-only
"""Files of every kind that a page cache knows, and which of their pages are in memory.

The disk has 200 files, seen through two mounts, a bind mount and an overlay; beside them are
tmpfs, memfds, System V segments and block devices.
"""

import ctypes
import mmap
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from owner_witness import PAGE, resident

DATA, AGAIN, BOUND, OVER, TMPFS = (
    Path("/mnt") / name for name in ("data", "again", "bound", "over", "tmpfs")
)
FILES = 200
FOLDERS = 10
DELETED = range(0, FILES, 10)
NAMES = {
    3: "caf\udce9",
    13: "two\nlines",
    23: "\x1b[31mred",
    33: "n" * 250,
    43: "Grüße 世界",
    53: "a (deleted)",
    63: " blank ",
}
GROUPS = {"first": (3000, 1500), "second": (0, 0), "second/inner": (500, 700), "with ü": (100, 90)}
"""Memory cgroups with the anonymous pages and pages of a file that a process in each takes."""
GONE = "gone"
"""A cgroup that is removed again, with pages of a file that were charged to it."""
GONE_PAGES = 120
MEMFDS = {"one": 40, "of many words: 2": 7, "": 3}
SHM = {"private": (0, 33), "keyed": (0x5EED, 17), "removed": (0, 9)}
"""System V segments: key and pages."""
IPC_CREAT, IPC_RMID = 0o1000, 0
DEVICE_PAGES = 256
LOWER, UPPER = 6, 4
ROOT_FILE = "/usr/lib/x86_64-linux-gnu/libLLVM.so.19.1"


def disk(serial: str) -> str:
    for path in Path("/sys/block").glob("vd*/serial"):
        if path.read_text() == serial:
            return f"/dev/{path.parent.name}"
    raise LookupError(serial)


def size_of(number: int) -> int:
    """Return the bytes of a file: no two alike, some empty, some not a multiple of a page."""
    if number % 50 == 49:
        return 0
    return (1 + number % 17) * PAGE * (1 + number // 40) + number * 7


@dataclass
class Kept:
    """An open file, and what it is."""

    descriptor: int
    kind: str
    path: str
    note: str = ""
    size: int | None = None

    def witness(self) -> dict[str, Any]:
        found = os.fstat(self.descriptor)
        size = found.st_size if self.size is None else self.size
        return {
            "kind": self.kind,
            "path": self.path,
            "note": self.note,
            "ino": found.st_ino,
            "device": [os.major(found.st_dev), os.minor(found.st_dev)],
            "size": size,
            "resident": resident(self.descriptor, size),
        }


class Files:
    """Makes the files, and keeps them open."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.kept: list[Kept] = []
        self.segments: list[dict[str, Any]] = []
        self.mapped: dict[str, mmap.mmap] = {}
        self._addresses: list[int] = []

    def make(self) -> None:
        self._mount()
        self._write()
        self._read()
        self._overlay()
        self._in_memory()
        self._system_v()
        self._devices()

    def _mount(self) -> None:
        for folder in (DATA, AGAIN, BOUND, OVER, TMPFS):
            folder.mkdir(parents=True)
        for folder in (DATA, AGAIN):
            subprocess.run(["mount", "-t", "ext4", self.device, folder], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "huge=never", "none", TMPFS], check=True)
        (DATA / "files").mkdir()
        for number in range(FOLDERS):
            (DATA / "files" / str(number)).mkdir()
        for name in ("lower", "upper", "work", "groups"):
            (DATA / name).mkdir()
        subprocess.run(["mount", "--bind", DATA / "files/3", BOUND], check=True)

    def place(self, number: int) -> str:
        """Return the path of a file below the root of its file system."""
        name = NAMES.get(number, f"file{number}")
        return f"files/{number % FOLDERS}/{name}"

    def _write(self) -> None:
        for number in range(FILES):
            (DATA / self.place(number)).write_bytes(os.urandom(size_of(number)))
        for number in range(LOWER):
            (DATA / "lower" / f"low{number}").write_bytes(os.urandom((3 + number) * PAGE))
        for name, pages in self.charged().items():
            (DATA / "groups" / name).write_bytes(os.urandom(pages * PAGE))
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")

    @staticmethod
    def charged() -> dict[str, int]:
        """Return the files that processes in cgroups read, with their pages."""
        pages = {name.replace("/", "-"): pages for name, (_, pages) in GROUPS.items() if pages}
        return {**pages, GONE: GONE_PAGES}

    def _read(self) -> None:
        """Read a third whole, a third in part, a third through another mount."""
        for number in range(FILES):
            place = self.place(number)
            through = AGAIN if number % 3 == 2 else DATA
            path = through / place
            descriptor = os.open(path, os.O_RDONLY)
            size = size_of(number)
            if number % 3 == 1:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
                for at in range(0, size, 3 * PAGE):
                    os.pread(descriptor, 10, at)
            else:
                while os.read(descriptor, 1 << 20):
                    pass
            note = "deleted" if number in DELETED else ""
            self.kept.append(Kept(descriptor, "disk", f"/{place}", note))
        for number in DELETED:
            (DATA / self.place(number)).unlink()
        for number in (5, 15, 25):
            size = size_of(number)
            with (DATA / self.place(number)).open("rb") as file:
                shared = mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ)
            for at in range(0, size, 2 * PAGE):
                shared[at]
            self.mapped[self.place(number)] = shared

    def _overlay(self) -> None:
        options = f"lowerdir={DATA}/lower,upperdir={DATA}/upper,workdir={DATA}/work"
        subprocess.run(["mount", "-t", "overlay", "-o", options, "overlay", OVER], check=True)
        for number in range(LOWER):
            (OVER / f"low{number}").read_bytes()
        for number in range(UPPER):
            (OVER / f"up{number}").write_bytes(os.urandom((2 + number) * PAGE))
        with (OVER / "low0").open("r+b") as copied:
            copied.write(b"changed")
        os.sync()
        for real in ("lower", "upper"):
            for path in sorted((DATA / real).iterdir()):
                # Through the overlay the inode is the overlay's own; its pages are the real file's.
                descriptor = os.open(path, os.O_RDONLY)
                self.kept.append(Kept(descriptor, "overlay", f"/{real}/{path.name}"))
        descriptor = os.open(ROOT_FILE, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        for at in range(0, 64 * 5 * PAGE, 5 * PAGE):
            os.pread(descriptor, 10, at)
        self.kept.append(Kept(descriptor, "root", ROOT_FILE))

    def _in_memory(self) -> None:
        for number in range(12):
            path = TMPFS / f"file{number}"
            path.write_bytes(bytes([1 + number]) * (number * 3000))
            descriptor = os.open(path, os.O_RDWR)
            note = ""
            if number in (3, 7):
                path.unlink()
                note = "deleted"
            self.kept.append(Kept(descriptor, "tmpfs", f"/{path.name}", note))
        sparse = os.open(TMPFS / "sparse", os.O_RDWR | os.O_CREAT)
        os.truncate(sparse, 100 * PAGE)
        for page in (0, 50, 99):
            os.pwrite(sparse, b"x", page * PAGE)
        self.kept.append(Kept(sparse, "tmpfs", "/sparse"))
        for name, pages in MEMFDS.items():
            descriptor = os.memfd_create(name)
            os.write(descriptor, bytes([7]) * (pages * PAGE))
            self.kept.append(Kept(descriptor, "memfd", name))
        self.mapped["shared"] = mmap.mmap(-1, 21 * PAGE)
        for page in range(20):
            self.mapped["shared"][page * PAGE] = 1

    def _system_v(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.shmat.restype = ctypes.c_void_p
        for name, (key, pages) in SHM.items():
            number = libc.shmget(key, ctypes.c_size_t(pages * PAGE), IPC_CREAT | 0o600)
            address = libc.shmat(number, None, 0)
            assert number >= 0
            assert address != ctypes.c_void_p(-1).value
            touched = pages - 2
            ctypes.memset(address, 1, touched * PAGE)
            if name == "removed":
                libc.shmctl(number, IPC_RMID, None)
            self.segments.append(
                {"name": name, "id": number, "key": key, "pages": pages, "resident": touched}
            )
            self._addresses.append(address)

    def _devices(self) -> None:
        source = os.open(disk("source"), os.O_RDONLY)
        os.posix_fadvise(source, 0, 0, os.POSIX_FADV_RANDOM)
        for page in range(DEVICE_PAGES):
            os.pread(source, 10, page * PAGE)
        for device in (disk("source"), self.device, "/dev/zram1"):
            descriptor = os.open(device, os.O_RDONLY)
            size = os.lseek(descriptor, 0, os.SEEK_END)
            self.kept.append(Kept(descriptor, "device", device, size=size))

    def mapped_paths(self) -> list[str]:
        """Return the files of the disk that are mapped, as paths below its root."""
        return [path for path in self.mapped if "/" in path]

    def witness(self) -> dict[str, Any]:
        """Return all files with their pages in memory, by mincore()."""
        charged = [
            Kept(os.open(DATA / "groups" / name, os.O_RDONLY), "disk", f"/groups/{name}", "charged")
            for name in self.charged()
        ]
        return {
            "open": [each.witness() for each in (*self.kept, *charged)],
            "system_v": self.segments,
            "mounts": {"disk": str(DATA), "again": str(AGAIN), "device": self.device},
        }
