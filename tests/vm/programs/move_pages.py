# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest with two nodes: have the kernel migrate pages of this process to another node.

Prints {"pfns": [...]}, waits for a line, moves the pages, and prints the pfns that they have then.
"""

import ctypes
import json
import mmap
import struct
import sys
from pathlib import Path

PAGES = 8
MOVE_PAGES = 279
ALL = 1 << 1
"""MPOL_MF_MOVE."""
_PFN = (1 << 55) - 1

memory = mmap.mmap(-1, PAGES * mmap.PAGESIZE)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
addresses = (ctypes.c_void_p * PAGES)(*(start + i * mmap.PAGESIZE for i in range(PAGES)))


def move(nodes: object, flags: int) -> list[int]:
    """Call move_pages(), and return the node of each page."""
    found = (ctypes.c_int * PAGES)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(MOVE_PAGES, 0, PAGES, addresses, nodes, found, flags):
        sys.exit(f"move_pages: error {ctypes.get_errno()}")
    return list(found)


def say() -> None:
    with Path("/proc/self/pagemap").open("rb") as pagemap:
        pagemap.seek(start // mmap.PAGESIZE * 8)
        words = struct.unpack(f"<{PAGES}Q", pagemap.read(8 * PAGES))
    sys.stdout.write(json.dumps({"pfns": [word & _PFN for word in words]}) + "\n")
    sys.stdout.flush()


for page in range(PAGES):
    memory[page * mmap.PAGESIZE] = 1
say()
sys.stdin.readline()
move((ctypes.c_int * PAGES)(*(1 - node for node in move(None, 0))), ALL)
say()
