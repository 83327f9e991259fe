# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: make memory of many owners, and say what the kernel says of each.

make_owners.py FOLDER [--idle] makes it all (nothing with --idle), and leaves witness.json and the
kernel's files of pages in FOLDER, as owner_witness.py says. The guest is to have a disk with the
serial "data", formatted as ext2. Its processes stay until the guest ends.
"""

import ctypes
import json
import mmap
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "support")]

from guest_quiet import QUIET  # noqa: E402
from owner_files import Files, disk  # noqa: E402
from owner_processes import Processes  # noqa: E402
from owner_witness import pfn_of  # noqa: E402

MODULES = ("tun", "dummy", "xfs")
PIPE_BYTES = 1 << 20
SYS_BPF = 321
MAP_CREATE, PROG_LOAD = 0, 5
MAPS = {
    # name: type, bytes of a key, bytes of a value, entries, flags
    "plain_array": (2, 4, 4096, 64, 0),
    "mapped_array": (2, 4, 8, 1 << 14, 1 << 10),
    "hash_of_many": (1, 16, 64, 4096, 0),
    "percpu_array": (6, 4, 1024, 32, 0),
    "ring_buffer": (27, 0, 0, 1 << 16, 0),
}
PROGRAMS = {"small_filter": 4, "large_filter": 3000}
"""Socket filters by name, with the number of their instructions."""


def shell(script: str) -> None:
    subprocess.run(["sh", "-ec", script], check=True, stdout=subprocess.DEVNULL)


def bpf(command: int, attr: bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(SYS_BPF, command, attr, len(attr)))
    assert result >= 0, os.strerror(ctypes.get_errno())
    return result


def fdinfo(descriptor: int) -> dict[str, str]:
    lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


class Kernel:
    """Memory of the kernel's own that processes ask for; what is open here keeps it."""

    def __init__(self) -> None:
        self.kept: list[object] = []

    def modules(self) -> None:
        shell(f"modprobe -a {' '.join(MODULES)}; modprobe zram num_devices=2")

    def zram(self) -> None:
        """A device for swap, and one with data: random, of one byte only, and zeros."""
        shell("echo 128M > /sys/block/zram0/disksize; mkswap /dev/zram0; swapon /dev/zram0")
        Path("/sys/block/zram1/disksize").write_text("32M")
        with Path("/dev/zram1").open("wb", buffering=0) as device:
            device.writelines((os.urandom(5 << 20), b"\x42" * (1 << 20), bytes(1 << 20)))
            os.fsync(device.fileno())
        shell("blockdev --flushbufs /dev/zram1")

    def bpf(self) -> dict[str, Any]:
        maps, programs = {}, {}
        for name, (kind, key, value, entries, flags) in MAPS.items():
            head = b"".join(
                n.to_bytes(4, "little") for n in (kind, key, value, entries, flags, 0, 0)
            )
            descriptor = bpf(MAP_CREATE, head + name.encode().ljust(16, b"\0") + bytes(64))
            maps[name] = fdinfo(descriptor)
            if flags:
                populate = mmap.MAP_SHARED | mmap.MAP_POPULATE
                self.kept.append(mmap.mmap(descriptor, value * entries, populate))
        for name, count in PROGRAMS.items():
            instruction = bytes([0xB7, 0, 0, 0, 0, 0, 0, 0])
            code = ctypes.create_string_buffer(instruction * (count - 1) + bytes([0x95]) + bytes(7))
            licence = ctypes.create_string_buffer(b"GPL")
            head = b"".join(n.to_bytes(4, "little") for n in (1, count))
            places = b"".join(
                ctypes.addressof(each).to_bytes(8, "little") for each in (code, licence)
            )
            attr = head + places + bytes(24) + name.encode().ljust(16, b"\0") + bytes(64)
            programs[name] = fdinfo(bpf(PROG_LOAD, attr))
        return {"maps": maps, "programs": programs}

    def buffers(self) -> dict[str, int]:
        """Return pages in pipes and bytes in sockets: no type of page says what they are."""
        ends = [os.pipe() for _ in range(8)]
        for _, end in ends:
            os.write(end, b"p" * (16 * 4096))
        pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        sent = pair[0].send(b"s" * (64 << 10))
        self.kept += [ends, pair]
        return {"pipe_pages": 16 * len(ends), "socket_bytes": sent}


def make_uses() -> dict[str, Any]:
    """Have another program make pages of every use, and return what it says of them."""
    program = subprocess.Popen(
        ["python3", "-P", str(HERE / "make_uses.py")],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(HERE)},
    )
    KEPT.append(program)
    assert program.stdout is not None
    uses: dict[str, Any] = json.loads(program.stdout.readline())
    return uses


def make() -> dict[str, Any]:
    Path("/sys/fs/cgroup/cgroup.subtree_control").write_text("+memory")
    kernel, files = Kernel(), Files(disk("data"))
    kernel.modules()
    uses = make_uses()
    shell("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled")
    kernel.zram()
    files.make()
    processes = Processes(files)
    processes.make()
    processes.settled()
    made: dict[str, Any] = {
        "uses": uses,
        "bpf": kernel.bpf(),
        **kernel.buffers(),
        "hugetlb": processes.hugetlb,
        "groups": processes.groups,
        "pids": {**processes.pids, "main": os.getpid()},
    }
    subprocess.run(["sh", "-c", QUIET], check=True)
    made["files"] = files.witness()
    made["mapped"] = [
        {"pid": pid, "address": address, "what": what, "pfn": pfn_of(pid, address)}
        for what, address in processes.addresses.items()
        for pid in processes.of_tree
    ]
    # Open until the end: they keep what they stand for.
    KEPT.extend([kernel, files, processes])
    return made


KEPT: list[object] = []


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir()
    if "--idle" in sys.argv[2:]:
        made: dict[str, Any] = {}
        subprocess.run(["sh", "-c", QUIET], check=True)
    else:
        made = make()
    (folder / "made.json").write_text(json.dumps(made))
    subprocess.run(["python3", "-P", str(HERE / "owner_witness.py"), str(folder)], check=True)


main()
