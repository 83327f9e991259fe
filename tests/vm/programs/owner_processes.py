# SPDX-License-Identifier: GPL-2.0-only
"""Processes with memory of every kind that a page table shows, which sleep with it."""

import ctypes
import mmap
import os
import signal
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from owner_files import DATA, GONE, GROUPS, Files
from owner_witness import CGROUPS, PAGE

HUGE = 2 << 20
MADV_MERGEABLE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_PAGEOUT = 12, 14, 15, 21
MAP_HUGETLB, MAP_NORESERVE = 0x40000, 0x4000
MFD_HUGETLB = 4
PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
SYS_VFORK, SYS_PERF_EVENT_OPEN = 58, 298
SOL_PACKET, PACKET_RX_RING = 263, 5
KSM = Path("/sys/kernel/mm/ksm")
TREE = 3
SWAPPED = 2048
MERGED = 256
THREADS, THREADS_GONE = 12, 40
HUGETLB = {"total": 14, "mapped": 2, "file": 3, "memfd": 1, "reserved": 2}
TABLES = 64
"""Page tables that a process has for one page each."""


def address_of(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def anonymous(pages: int, flags: int = 0) -> mmap.mmap:
    return mmap.mmap(-1, pages * PAGE, PRIVATE | flags)


def fill(memory: mmap.mmap, pages: int, first: int = 0) -> None:
    """Make pages of which no two are alike."""
    for page in range(first, first + pages):
        memory[page * PAGE : page * PAGE + 16] = os.urandom(16)


class Processes:
    """Makes the processes."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.pids: dict[str, int] = {}
        self.of_tree: list[int] = []
        self.addresses: dict[str, int] = {}
        self.hugetlb = dict(HUGETLB)
        self.groups: dict[str, dict[str, int]] = {}
        self._kept: list[object] = []

    def make(self) -> None:
        self._in_groups()
        self._hugetlb()
        self._of_all()
        for name, what in {
            "tree": self._tree,
            "swap": self._swap,
            "threads": self._threads,
            "devices": self._devices,
            "tables": self._tables,
            "shares an mm": self._shares_mm,
        }.items():
            self.pids[name] = self._child(what)
        for number in range(3):
            self.pids[f"sleep{number}"] = subprocess.Popen(["sleep", "1000000"]).pid

    def _child(self, what: Callable[[], object], group: str | None = None) -> int:
        """Run something in a process that then sleeps; return its pid once that is done."""
        ready, done = os.pipe()
        pid = os.fork()
        if pid:
            os.close(done)
            answer = os.read(ready, 1)
            os.close(ready)
            assert answer == b"x", f"{what}"
            return pid
        try:
            if group is not None:
                Path(f"{CGROUPS}/{group}/cgroup.procs").write_text("0")
            kept = what()
            self._kept.append(kept)
            os.write(done, b"x")
            os.close(done)
            while True:
                signal.pause()
        except BaseException:  # noqa: BLE001 - the child is not to go on as its parent
            import traceback

            traceback.print_exc()
        os._exit(1)

    def _in_groups(self) -> None:
        """Have processes in memory cgroups, the memory of which is charged to them."""
        for group, (anon, file) in GROUPS.items():
            Path(f"{CGROUPS}/{group}").mkdir()
            if group == "second":
                Path(f"{CGROUPS}/{group}/cgroup.subtree_control").write_text("+memory")
            if anon:
                pid = self._child(lambda g=group, n=anon: self._take(g, n), group)
                self.pids[f"group {group}"] = pid
            ino = Path(f"{CGROUPS}/{group}").stat().st_ino
            self.groups[f"/{group}"] = {"anon": anon, "file": file, "ino": ino}
        gone = f"{CGROUPS}/{GONE}"
        Path(gone).mkdir()
        pid = os.fork()
        if not pid:
            Path(f"{gone}/cgroup.procs").write_text("0")
            self._take(GONE, 0)
            os._exit(0)
        os.waitpid(pid, 0)
        for _ in range(100):
            try:
                Path(gone).rmdir()
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise AssertionError(gone)

    @staticmethod
    def _take(group: str, anon: int) -> object:
        memory = None
        if anon:
            memory = anonymous(anon)
            memory.madvise(MADV_NOHUGEPAGE)
            fill(memory, anon)
        return memory, (DATA / "groups" / group.replace("/", "-")).read_bytes()[:1]

    def _hugetlb(self) -> None:
        Path("/proc/sys/vm/nr_hugepages").write_text(str(HUGETLB["total"]))
        number = int(Path("/proc/sys/vm/nr_hugepages").read_text())
        assert number == HUGETLB["total"]
        mapped = anonymous(512 * HUGETLB["mapped"], MAP_HUGETLB)
        for at in range(0, len(mapped), HUGE):
            mapped[at] = 1
        reserved = anonymous(512 * HUGETLB["reserved"], MAP_HUGETLB)
        where = Path("/mnt/huge")
        where.mkdir()
        subprocess.run(["mount", "-t", "hugetlbfs", "none", where], check=True)
        with (where / "file").open("w+b") as file:
            os.ftruncate(file.fileno(), HUGETLB["file"] * HUGE)
            os.posix_fallocate(file.fileno(), 0, HUGETLB["file"] * HUGE)
            # One of the file's pages is mapped as well.
            of_file = mmap.mmap(file.fileno(), HUGE)
        of_file[0] = 1
        memfd = os.memfd_create("huge", MFD_HUGETLB)
        os.ftruncate(memfd, HUGETLB["memfd"] * HUGE)
        os.posix_fallocate(memfd, 0, HUGETLB["memfd"] * HUGE)
        self.addresses["hugetlb"] = address_of(of_file)
        self._of_file = of_file
        self._kept += [mapped, reserved]

    def _of_all(self) -> None:
        """Take what all processes that come after share with this one."""
        private = anonymous(64)
        private.madvise(MADV_NOHUGEPAGE)
        fill(private, 48)
        thp = anonymous(6 * 512)
        thp.madvise(MADV_HUGEPAGE)
        start = -address_of(thp) % HUGE
        fill(thp, 4 * 512, start // PAGE)
        untouched = anonymous(2 * 512)
        untouched.madvise(MADV_NOHUGEPAGE)
        for page in range(100):
            assert not untouched[page * PAGE]
        zeros = anonymous(3 * 512)
        zeros.madvise(MADV_HUGEPAGE)
        assert not zeros[HUGE]
        same = anonymous(MERGED)
        same.madvise(MADV_NOHUGEPAGE)
        for page in range(MERGED):
            same[page * PAGE : (page + 1) * PAGE] = bytes([41 + page % 2]) * PAGE
        before = int((KSM / "pages_sharing").read_text())
        same.madvise(MADV_MERGEABLE)
        (KSM / "pages_to_scan").write_text("5000")
        (KSM / "run").write_text("1")
        end = time.monotonic() + 60
        while int((KSM / "pages_sharing").read_text()) < before + MERGED - 2:
            assert time.monotonic() < end, (KSM / "pages_sharing").read_text()
            time.sleep(0.1)
        (KSM / "run").write_text("0")
        self.addresses |= {
            "private": address_of(private),
            "changed": address_of(private) + 40 * PAGE,
            "thp": address_of(thp) + start + 5 * PAGE,
            "ksm": address_of(same),
            "shared": address_of(self._files.mapped["shared"]),
            "zero": address_of(untouched),
        }
        self._libc.mprotect(
            ctypes.c_void_p(address_of(private) + 4 * PAGE), ctypes.c_size_t(2 * PAGE), 0
        )
        self._kept += [private, thp, untouched, zeros, same]
        self._private, self._untouched = private, untouched
        self._thp, self._thp_start = thp, start

    def _tree(self) -> object:
        """Fork a few times; each process writes to some of what it shares."""
        pids = [self._child(lambda n=number: self._write(n)) for number in range(TREE)]
        Path("/run/tree").write_text(" ".join(map(str, [os.getpid(), *pids])))
        return None

    def _write(self, number: int) -> object:
        fill(self._private, 4 + number, 40)
        assert not self._untouched[0]
        assert self._of_file[0] == self._files.mapped["shared"][0] == 1
        for path in self._files.mapped_paths():
            self._files.mapped[path][0]
        at = self._thp_start
        if number == 1:
            # One page of a huge page of its own; the others stay shared, now page by page.
            self._thp[at] = 99
        if number == 2:
            # Half of a huge page is no longer mapped here.
            where = ctypes.c_void_p(address_of(self._thp) + at + HUGE)
            self._libc.munmap(where, ctypes.c_size_t(HUGE // 2))
        return self._child(lambda: None) if number == 0 else None

    def _swap(self) -> object:
        """Have pages in swap, some of which another process still has there once they are back."""
        memory = anonymous(SWAPPED)
        memory.madvise(MADV_NOHUGEPAGE)
        noise = os.urandom(PAGE // 2)
        for page in range(SWAPPED):
            memory[page * PAGE : page * PAGE + PAGE // 2 + 8] = page.to_bytes(8, "little") + noise
        memory.madvise(MADV_PAGEOUT)
        child = self._child(lambda: None)
        for page in range(0, SWAPPED // 4, 2):
            assert memory[page * PAGE] == page & 255
        return memory, child

    @staticmethod
    def _threads() -> object:
        threads = [threading.Thread(target=signal.pause, daemon=True) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        passing = [threading.Thread(target=time.sleep, args=(0.2,)) for _ in range(THREADS_GONE)]
        for thread in passing:
            thread.start()
        for thread in passing:
            thread.join()
        return threads

    def _devices(self) -> object:
        """Map memory that is a device's, and kernel memory that drivers hand out."""
        populate = mmap.MAP_SHARED | mmap.MAP_POPULATE
        with Path("/dev/mem").open("rb") as memory:
            firmware = mmap.mmap(
                memory.fileno(), 16 * PAGE, populate, mmap.PROT_READ, offset=0xF0000
            )
        ring = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        ring.setsockopt(
            SOL_PACKET, PACKET_RX_RING, struct.pack("<IIII", 4 * PAGE, 8, PAGE // 2, 64)
        )
        frames = mmap.mmap(ring.fileno(), 32 * PAGE, populate)
        # A software event that never counts.
        attr = struct.pack("<IIQQQQQ", 1, 112, 9, 0, 0, 0, 0).ljust(112, b"\0")
        event = self._libc.syscall(SYS_PERF_EVENT_OPEN, attr, 0, -1, -1, 0)
        assert event >= 0, os.strerror(ctypes.get_errno())
        samples = mmap.mmap(event, 9 * PAGE, populate)
        with Path("/dev/zero").open("r+b") as zero:
            of_zero = mmap.mmap(zero.fileno(), 11 * PAGE, populate)
        return firmware, ring, frames, samples, of_zero

    @staticmethod
    def _tables() -> object:
        memory = mmap.mmap(-1, TABLES * HUGE, PRIVATE | MAP_NORESERVE)
        memory.madvise(MADV_NOHUGEPAGE)
        for at in range(0, TABLES * HUGE, HUGE):
            memory[at] = 1
        return memory

    def _shares_mm(self) -> object:
        """Have a process with the memory of its parent, which waits for it for ever."""
        libc = self._libc
        middle = os.fork()
        if not middle:
            libc.syscall(SYS_VFORK)
            # The child is here; its parent stays in the kernel until it ends.
            Path("/run/vfork").write_text(f"{os.getppid()} {os.getpid()}")
            while True:
                libc.pause()
        while not Path("/run/vfork").exists():
            time.sleep(0.05)
        return middle

    def settled(self) -> None:
        """Learn the pids of processes that others made."""
        self.of_tree = [os.getpid(), *map(int, Path("/run/tree").read_text().split())]
        for line in Path("/proc/self/maps").read_text().splitlines():
            for path in self._files.mapped_paths():
                if line.endswith(f"{DATA}/{path}"):
                    self.addresses[path] = int(line.partition("-")[0], 16)
        pair = list(map(int, Path("/run/vfork").read_text().split()))
        self.pids |= dict(zip(("mm first", "mm second"), pair, strict=True))
