# SPDX-License-Identifier: GPL-2.0-only
"""Calls of bpf(), made without bcc's library. All functions raise OSError.

A program that the verifier rejects raises VerifierError with the verifier's reason: errno alone
does not identify a rejection.
"""

import ctypes
import errno
import functools
import os
import resource
import struct
from contextlib import suppress
from typing import ClassVar, NamedTuple

from ..model.arch import SYS_BPF

_MAP_CREATE, _MAP_LOOKUP_ELEM, _MAP_UPDATE_ELEM, _PROG_LOAD = 0, 1, 2, 5
_OBJ_GET_INFO_BY_FD, _RAW_TRACEPOINT_OPEN, _MAP_LOOKUP_BATCH = 15, 17, 24

SOCKET_FILTER, KPROBE, RAW_TRACEPOINT, TRACING = 1, 2, 17, 26
"""Of enum bpf_prog_type."""
TRACE_RAW_TP, TRACE_FENTRY, TRACE_FEXIT = 23, 24, 25
"""Of enum bpf_attach_type."""
ARRAY, PERF_EVENT_ARRAY, PERCPU_ARRAY, RINGBUF = 2, 4, 6, 27
"""Of enum bpf_map_type."""

INSTRUCTION = struct.Struct("<BBhi")
"""struct bpf_insn: code, registers, offset, immediate; the source register is in the upper bits."""
_NAME_BYTES = 15

_LOG_BYTES = (1 << 24) - 1
"""Largest log buffer that every kernel accepts; up to v6.3 a log that does not fit is cut off."""

_VERIFIER_ERRNOS = frozenset({errno.EACCES, errno.EINVAL, errno.E2BIG, errno.ENOSPC})
"""Errors of BPF_PROG_LOAD when the verifier rejects a program; a missing capability is EPERM."""

KERNEL_REQUIREMENT = "it takes Linux 4.17 or later with CONFIG_BPF_SYSCALL and CONFIG_BPF_EVENTS"
"""Hint for a kernel that lacks these calls."""


class VerifierError(OSError):
    """The verifier rejected a program; `line` is the reason from its log."""

    def __init__(self, number: int, line: str) -> None:
        super().__init__(number, os.strerror(number))
        self.line = line


class Load(ctypes.Structure):
    """union bpf_attr of BPF_PROG_LOAD."""

    _fields_: ClassVar = [
        ("prog_type", ctypes.c_uint32),
        ("insn_cnt", ctypes.c_uint32),
        ("insns", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("log_level", ctypes.c_uint32),
        ("log_size", ctypes.c_uint32),
        ("log_buf", ctypes.c_uint64),
        ("kern_version", ctypes.c_uint32),
        ("prog_flags", ctypes.c_uint32),
        ("prog_name", ctypes.c_char * 16),
        ("prog_ifindex", ctypes.c_uint32),
        ("expected_attach_type", ctypes.c_uint32),
        ("unused", ctypes.c_uint64 * 4),
        ("line_info_cnt", ctypes.c_uint32),
        ("attach_btf_id", ctypes.c_uint32),
    ]


class Open(ctypes.Structure):
    """union bpf_attr of BPF_RAW_TRACEPOINT_OPEN."""

    _fields_: ClassVar = [("name", ctypes.c_uint64), ("prog_fd", ctypes.c_uint64)]


class Create(ctypes.Structure):
    """union bpf_attr of BPF_MAP_CREATE."""

    _fields_: ClassVar = [
        ("map_type", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("inner_map_fd", ctypes.c_uint32),
        ("numa_node", ctypes.c_uint32),
        ("map_name", ctypes.c_char * 16),
    ]


class Element(ctypes.Structure):
    """union bpf_attr of BPF_MAP_LOOKUP_ELEM and BPF_MAP_UPDATE_ELEM."""

    _fields_: ClassVar = [
        ("map_fd", ctypes.c_uint64),
        ("key", ctypes.c_uint64),
        ("value", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    ]


class Batch(ctypes.Structure):
    """union bpf_attr of BPF_MAP_LOOKUP_BATCH."""

    _fields_: ClassVar = [
        ("in_batch", ctypes.c_uint64),
        ("out_batch", ctypes.c_uint64),
        ("keys", ctypes.c_uint64),
        ("values", ctypes.c_uint64),
        ("count", ctypes.c_uint32),
        ("map_fd", ctypes.c_uint32),
        ("elem_flags", ctypes.c_uint64),
        ("flags", ctypes.c_uint64),
    ]


class Info(ctypes.Structure):
    """union bpf_attr of BPF_OBJ_GET_INFO_BY_FD."""

    _fields_: ClassVar = [
        ("bpf_fd", ctypes.c_uint32),
        ("info_len", ctypes.c_uint32),
        ("info", ctypes.c_uint64),
    ]


class MapInfo(ctypes.Structure):
    """The first members of struct bpf_map_info."""

    _fields_: ClassVar = [
        ("type", ctypes.c_uint32),
        ("id", ctypes.c_uint32),
        ("key_size", ctypes.c_uint32),
        ("value_size", ctypes.c_uint32),
        ("max_entries", ctypes.c_uint32),
        ("map_flags", ctypes.c_uint32),
        ("name", ctypes.c_char * 16),
    ]


class MapShape(NamedTuple):
    """What a map is created from. Sizes in bytes; 0 for both of a ring buffer."""

    map_type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def system_call(number: int, *arguments: object) -> int:
    """Make a system call and return its result. Raises OSError."""
    result = int(_libc().syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _bpf(command: int, attr: ctypes.Structure) -> int:
    return system_call(SYS_BPF, command, ctypes.byref(attr), ctypes.sizeof(attr))


def load(
    prog_type: int,
    instructions: bytes,
    name: str = "",
    expected_attach_type: int = 0,
    attach_btf_id: int = 0,
) -> int:
    """Load a program without attaching it, and return its descriptor."""
    code = ctypes.create_string_buffer(instructions, len(instructions))
    license_ = ctypes.create_string_buffer(b"GPL")
    attr = Load(
        prog_type=prog_type,
        insn_cnt=len(instructions) // INSTRUCTION.size,
        insns=ctypes.addressof(code),
        license=ctypes.addressof(license_),
        prog_name=name.encode()[:_NAME_BYTES],
        expected_attach_type=expected_attach_type,
        attach_btf_id=attach_btf_id,
    )
    try:
        return _bpf(_PROG_LOAD, attr)
    except OSError as error:
        if error.errno not in _VERIFIER_ERRNOS:
            raise
        refused = error
    # A log slows down loading, so it is requested only for a program that was rejected.
    log = ctypes.create_string_buffer(_LOG_BYTES)
    attr.log_level, attr.log_size, attr.log_buf = 1, _LOG_BYTES, ctypes.addressof(log)
    try:
        return _bpf(_PROG_LOAD, attr)
    except OSError:
        line = rejection_line(ctypes.string_at(log).decode("utf-8", "replace"))
        if not line:
            raise refused from None
        raise VerifierError(refused.errno or errno.EINVAL, line) from None


def rejection_line(log: str) -> str:
    """Return the line of a verifier's log with the reason; empty when there is none."""
    # Newer kernels add a long explanation after the reason.
    log = log.partition("\nVerification failed:")[0]
    # Statistics follow the reason: "processed 3 insns (limit 1000000) ...".
    counts = ("processed ", "verification time ", "stack depth ")
    lines = (line.strip() for line in reversed(log.splitlines()))
    return next((line for line in lines if line and not line.startswith(counts)), "")


def open_raw_tracepoint(program: int, name: str | None = None) -> int:
    """Attach a program to a raw tracepoint and return a descriptor; closing it detaches.

    Without a name, the tracepoint is the one that the program was loaded for.
    """
    text = None if name is None else ctypes.create_string_buffer(name.encode())
    address = 0 if text is None else ctypes.addressof(text)
    return _bpf(_RAW_TRACEPOINT_OPEN, Open(name=address, prog_fd=program))


def lift_memory_limit() -> None:
    """Allow this process maps of any size: kernels up to v5.10 count them as locked memory."""
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY,) * 2)


def create_map(shape: MapShape, name: str = "") -> int:
    """Create a map and return its descriptor."""
    attr = Create(
        map_type=shape.map_type,
        key_size=shape.key_size,
        value_size=shape.value_size,
        max_entries=shape.max_entries,
        map_flags=shape.flags,
        map_name=name.encode()[:_NAME_BYTES],
    )
    return _bpf(_MAP_CREATE, attr)


def map_info(fd: int) -> tuple[str, MapShape]:
    """Return the name of a map, which the kernel cuts off after 15 bytes, and its shape."""
    info = MapInfo()
    _bpf(
        _OBJ_GET_INFO_BY_FD,
        Info(bpf_fd=fd, info_len=ctypes.sizeof(info), info=ctypes.addressof(info)),
    )
    shape = MapShape(info.type, info.key_size, info.value_size, info.max_entries, info.map_flags)
    return info.name.decode(), shape


def look_up(fd: int, key: int, value: int) -> None:
    """Copy a value of a map to the address `value`; `key` is the address of its key."""
    _bpf(_MAP_LOOKUP_ELEM, Element(map_fd=fd, key=key, value=value))


def update(fd: int, key: int, value: int) -> None:
    """Write a value to a map; `key` and `value` are addresses."""
    _bpf(_MAP_UPDATE_ELEM, Element(map_fd=fd, key=key, value=value))


def update_number(fd: int, key: int, value: int) -> None:
    """Write a 32-bit number as the value of a 4-byte key."""
    numbers = (ctypes.c_uint32 * 2)(key, value)
    start = ctypes.addressof(numbers)
    update(fd, start, start + ctypes.sizeof(ctypes.c_uint32))


def look_up_batch(fd: int, keys: int, values: int, most: int) -> int:
    """Copy up to `most` keys and values of a hash to two addresses; return how many there were."""
    position = ctypes.c_uint64()
    attr = Batch(
        out_batch=ctypes.addressof(position), keys=keys, values=values, count=most, map_fd=fd
    )
    # ENOENT: the batch reached the end of the map.
    with suppress(FileNotFoundError):
        _bpf(_MAP_LOOKUP_BATCH, attr)
    return int(attr.count)
