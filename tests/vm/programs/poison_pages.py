# SPDX-License-Identifier: GPL-2.0-only
"""Run in a guest: have argv[1] pages of a packet ring poisoned, of twice as many, and free all.

The pages of the ring are the kernel's own, each allocated alone; memory_failure() marks them and
can do no more, so that they come to be freed as they are. Prints by how many pages
HardwareCorrupted of /proc/meminfo grew.
"""

import contextlib
import ctypes
import mmap
import socket
import struct
import sys
from pathlib import Path

SOL_PACKET, PACKET_RX_RING = 263, 5
PAGE = mmap.PAGESIZE
PRESENT_PFN = (1 << 55) - 1


def corrupted_pages() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    kib = next(int(line.split()[1]) for line in lines if line.startswith("HardwareCorrupted:"))
    return kib * 1024 // PAGE


n = int(sys.argv[1])
before = corrupted_pages()
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as ring:
    # struct tpacket_req: bytes and number of blocks, bytes and number of frames
    request = struct.pack("IIII", PAGE, 2 * n, PAGE, 2 * n)
    ring.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
    with mmap.mmap(ring.fileno(), 2 * n * PAGE) as pages:
        view = ctypes.c_char.from_buffer(pages)
        address = ctypes.addressof(view)
        with Path("/proc/self/pagemap").open("rb") as pagemap:
            pagemap.seek(address // PAGE * 8)
            entries = struct.unpack(f"{n}Q", pagemap.read(8 * n))
        for entry in entries:
            offline = Path("/sys/devices/system/memory/hard_offline_page")
            # It says that it could not free them, which is what is wanted.
            with contextlib.suppress(OSError):
                offline.write_text(hex((entry & PRESENT_PFN) * PAGE))
        del view
sys.stdout.write(f"{corrupted_pages() - before}\n")
