"""The system calls that tracing depends on, tried so that nothing is ever traced.

A program that is loaded and never attached does not run. To attach is tried with a tracepoint and
an address that do not exist: the kernel looks whether it is allowed before it looks for them.
"""

import contextlib
import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path

_SYS_PERF_EVENT_OPEN = 298
_SYS_BPF = 321
_BPF_PROG_LOAD = 5
_BPF_RAW_TRACEPOINT_OPEN = 17
_PERF_FLAG_FD_CLOEXEC = 8
_PERF_ATTR_SIZE = 112

SOCKET_FILTER = 1
RAW_TRACEPOINT = 17
"""Of enum bpf_prog_type."""

_INSTRUCTION = struct.Struct("<BBhi")
_BPF_PROBE_READ_KERNEL = 113

NOTHING = _INSTRUCTION.pack(0xB7, 0, 0, 0) + _INSTRUCTION.pack(0x95, 0, 0, 0)
"""r0 = 0; exit"""

READS_KERNEL = (
    _INSTRUCTION.pack(0xBF, 0xA1, 0, 0)  # r1 = r10
    + _INSTRUCTION.pack(0x07, 0x01, 0, -8)  # r1 += -8
    + _INSTRUCTION.pack(0xB7, 0x02, 0, 8)  # r2 = 8
    + _INSTRUCTION.pack(0xB7, 0x03, 0, 0)  # r3 = 0
    + _INSTRUCTION.pack(0x85, 0x00, 0, _BPF_PROBE_READ_KERNEL)
    + NOTHING
)
"""A program that would read eight bytes of kernel memory."""

_NO_TRACEPOINT = b"pageinspect_doctor"
_NO_KERNEL_ADDRESS = 1


def _syscall(number: int, *arguments: object) -> int:
    """Return what the system call returns. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    result = int(libc.syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


@contextlib.contextmanager
def bpf_program(kind: int, instructions: bytes) -> Iterator[int]:
    """Load a BPF program and give its descriptor; it is gone with the context. Raises OSError."""
    code = ctypes.create_string_buffer(instructions)
    license_ = ctypes.create_string_buffer(b"GPL")
    count = len(instructions) // _INSTRUCTION.size
    fields = (kind, count, ctypes.addressof(code), ctypes.addressof(license_), 0, 0, 0, 0, 0)
    attr = struct.pack("<IIQQIIQII", *fields)
    descriptor = _syscall(_SYS_BPF, _BPF_PROG_LOAD, attr, len(attr))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def try_raw_tracepoint() -> None:
    """Raise OSError unless a BPF program could be attached to a raw tracepoint."""
    name = ctypes.create_string_buffer(_NO_TRACEPOINT)
    with bpf_program(RAW_TRACEPOINT, NOTHING) as program:
        attr = struct.pack("<QII", ctypes.addressof(name), program, 0)
        _expect((errno.ENOENT,), _SYS_BPF, _BPF_RAW_TRACEPOINT_OPEN, attr, len(attr))


def try_kprobe(pmu: Path) -> None:
    """Raise OSError unless a kprobe could be placed; `pmu` is the kprobe PMU's file `type`."""
    attr = struct.pack(
        "<IIQQQQQIIQQ",
        int(pmu.read_text(encoding="ascii")),
        _PERF_ATTR_SIZE,
        *(0, 0, 0, 0),
        1,  # disabled
        *(0, 0),
        0,  # kprobe_func
        _NO_KERNEL_ADDRESS,
    ).ljust(_PERF_ATTR_SIZE, b"\0")
    # pid, cpu, group
    where = (-1, 0, -1)
    # Which of the two depends on the kernel.
    no_such_place = (errno.ENOENT, errno.EINVAL)
    _expect(no_such_place, _SYS_PERF_EVENT_OPEN, attr, *where, _PERF_FLAG_FD_CLOEXEC)


def _expect(errors: tuple[int, ...], number: int, *arguments: object) -> None:
    """Make a system call that is to fail with one of these errors. Raises OSError for others."""
    try:
        os.close(_syscall(number, *arguments))
    except OSError as error:
        if error.errno not in errors:
            raise
