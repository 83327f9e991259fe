# SPDX-License-Identifier: GPL-2.0-only
"""Kprobes by perf_event_open(). All functions raise OSError."""

import ctypes
import fcntl
import os
import struct
from pathlib import Path

from ..model.arch import SYS_PERF_EVENT_OPEN
from . import bpf_calls

PMU = Path("/sys/bus/event_source/devices/kprobe/type")

_ATTR = struct.Struct("<IIQQQQQIIQQ40x")
"""struct perf_event_attr up to config2, in its size of PERF_ATTR_SIZE_VER5."""
_DISABLED = 1
_PERF_FLAG_FD_CLOEXEC = 8
_IOC_ENABLE, _IOC_SET_BPF = 0x2400, 0x40042408


def open_kprobe(place: str | int, pmu: Path = PMU) -> int:
    """Place a kprobe at a function or an address, and return a descriptor; closing it removes it.

    `pmu` is the file with the type of the kprobe PMU.
    """
    kind = int(pmu.read_text(encoding="ascii"))
    name = ctypes.create_string_buffer(place.encode() if isinstance(place, str) else b"")
    function, address = (ctypes.addressof(name), 0) if isinstance(place, str) else (0, place)
    attr = _ATTR.pack(kind, _ATTR.size, 0, 0, 0, 0, _DISABLED, 0, 0, function, address)
    # pid, cpu, group: a BPF program of a kprobe runs on all CPUs.
    return bpf_calls.system_call(SYS_PERF_EVENT_OPEN, attr, -1, 0, -1, _PERF_FLAG_FD_CLOEXEC)


def attach_to_kprobe(program: int, function: str) -> int:
    """Run a program at the start of a function; closing the returned descriptor ends this."""
    probe = open_kprobe(function)
    try:
        fcntl.ioctl(probe, _IOC_SET_BPF, program)
        fcntl.ioctl(probe, _IOC_ENABLE, 0)
    except BaseException:
        os.close(probe)
        raise
    return probe
