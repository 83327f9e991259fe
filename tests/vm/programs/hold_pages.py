# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: refers to pages of its own as drivers do, and says which, until its input ends.

Prints one line of JSON with the pfns: `pinned` are buffers of io_uring, which pin_user_pages() has
pinned; `referenced` are in a pipe, by vmsplice(), which refers to them. A BPF map of 32 MiB, named
blocker, takes unmovable memory.
"""

import ctypes
import json
import mmap
import os
import struct
import sys
from pathlib import Path

PAGE = 4096
HELD, PINNED, REFERENCED = 64, 4, 2
SYS_VMSPLICE, SYS_IO_URING_SETUP, SYS_IO_URING_REGISTER = 278, 425, 427
REGISTER_BUFFERS = 0
SYS_BPF, BPF_MAP_CREATE, BPF_ARRAY = 321, 0, 2
MAP_ENTRIES = 8192
PARAMETERS = 120
libc = ctypes.CDLL(None, use_errno=True)


def called(number: int, *arguments: object) -> int:
    result: int = libc.syscall(number, *arguments)
    if result < 0:
        sys.exit(f"system call {number}: {os.strerror(ctypes.get_errno())}")
    return result


def pfns(address: int, pages: int) -> list[int]:
    with Path("/proc/self/pagemap").open("rb") as file:
        file.seek(address // PAGE * 8)
        words = struct.unpack(f"<{pages}Q", file.read(8 * pages))
    return [word & (1 << 55) - 1 for word in words]


def main() -> None:
    held = mmap.mmap(-1, HELD * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    held.madvise(mmap.MADV_NOHUGEPAGE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(held))
    ctypes.memset(address, 1, HELD * PAGE)
    ring = called(SYS_IO_URING_SETUP, 4, ctypes.create_string_buffer(PARAMETERS))
    vector = ctypes.create_string_buffer(struct.pack("<QQ", address, PINNED * PAGE))
    called(SYS_IO_URING_REGISTER, ring, REGISTER_BUFFERS, vector, 1)
    entry = struct.pack("<7I16s", BPF_ARRAY, 4, PAGE, MAP_ENTRIES, 0, 0, 0, b"blocker")
    called(SYS_BPF, BPF_MAP_CREATE, ctypes.create_string_buffer(entry), len(entry))
    _reading, writing = os.pipe()
    spliced = address + (HELD - REFERENCED) * PAGE
    vector = ctypes.create_string_buffer(struct.pack("<QQ", spliced, REFERENCED * PAGE))
    called(SYS_VMSPLICE, writing, vector, 1, 0)
    found = {"pinned": pfns(address, PINNED), "referenced": pfns(spliced, REFERENCED)}
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


main()
