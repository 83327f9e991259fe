# SPDX-License-Identifier: GPL-2.0-only
"""Pages of a page_pool, held in flight.

Frames that a BPF test run makes come from a page_pool of its own, as those of a driver do. They are
redirected to a tap device that nobody reads, and stay in its ring; the pool is closed then and
waits for them. No driver is needed.
"""

import ctypes
import fcntl
import os
import re
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TRACING = Path("/sys/kernel/tracing")
RELEASE = "events/page_pool/page_pool_release/enable"

IFF_UP = 1
IFF_TAP_WITHOUT_HEADER = 0x1002
SIOCSIFFLAGS, SIOCSIFTXQLEN, TUNSETIFF = 0x8914, 0x8943, 0x400454CA

SYS_BPF = 321
PROG_LOAD, PROG_TEST_RUN = 5, 10
PROG_TYPE_XDP = 6
TEST_XDP_LIVE_FRAMES = 2
HELPER_REDIRECT = 23


def _bpf(command: int, attr: bytes) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(SYS_BPF, command, attr, len(attr)))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf({command}): {os.strerror(error)}")
    return result


def _tap(name: str, room: int) -> None:
    """Make a tap device that is up and holds `room` frames until they are read."""
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP_WITHOUT_HEADER))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for request, value in ((SIOCSIFTXQLEN, room), (SIOCSIFFLAGS, IFF_UP)):
            fcntl.ioctl(any_socket, request, struct.pack("16si20x", name.encode(), value))


def _redirect_to(device: int) -> int:
    """Load the XDP program `return bpf_redirect(device, 0)`."""
    code = b"".join(
        struct.pack("<BBhi", opcode, register, 0, value)
        for opcode, register, value in (
            (0xB7, 1, device),
            (0xB7, 2, 0),
            (0x85, 0, HELPER_REDIRECT),
            (0x95, 0, 0),
        )
    )
    instructions, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    at, text = ctypes.addressof(instructions), ctypes.addressof(licence)
    return _bpf(PROG_LOAD, struct.pack("<IIQQ48x", PROG_TYPE_XDP, len(code) // 8, at, text))


@contextmanager
def _releases() -> Iterator[list[int]]:
    """Collect what pools that are closed meanwhile have in flight, by the kernel's tracepoint."""
    found: list[int] = []
    (TRACING / RELEASE).write_text("1")
    try:
        yield found
    finally:
        (TRACING / RELEASE).write_text("0")
    told = (TRACING / "trace").read_text()
    found += map(int, re.findall(r"page_pool_release:.* inflight=(\d+)", told))


def in_flight(frames: int) -> int:
    """Put frames of a page each in flight until this process ends; return the pool's own count."""
    _tap("unread", 2 * frames)
    program = _redirect_to(socket.if_nametoindex("unread"))
    frame = ctypes.create_string_buffer(64)
    run = struct.pack("<IIIIQQII", program, 0, 64, 0, ctypes.addressof(frame), 0, frames, 0)
    with _releases() as counts:
        _bpf(PROG_TEST_RUN, run + struct.pack("<IIQQIII4x", 0, 0, 0, 0, TEST_XDP_LIVE_FRAMES, 0, 0))
    return counts[-1]
