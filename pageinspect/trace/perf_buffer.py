# SPDX-License-Identifier: GPL-2.0-only
"""Reads records of BPF programs from buffers of perf, one for each CPU: before the ring buffer.

The first page of each has the positions of the writer and of the reader, which only grow; the data
of a position is at its remainder by the size, and a record may wrap. On x86_64 plain accesses
suffice, as for a ring buffer.
"""

import fcntl
import mmap
import os
import select
import struct
from pathlib import Path

from ..model.arch import PAGE_SIZE, SYS_PERF_EVENT_OPEN
from . import bpf_calls
from .kprobe import IOC_ENABLE, PERF_ATTR, PERF_FLAG_FD_CLOEXEC
from .maps import cpus_of

ONLINE = Path("/sys/devices/system/cpu/online")
_PAGES = 64
"""Pages of data for each CPU, a power of two; /proc/sys/kernel/perf_event_mlock_kb allows more."""
_SOFTWARE, _BPF_OUTPUT, _SAMPLE_RAW = 1, 10, 1 << 10
"""PERF_TYPE_SOFTWARE, PERF_COUNT_SW_BPF_OUTPUT and PERF_SAMPLE_RAW."""
_HEAD, _TAIL = 1024, 1032
"""Offsets of data_head and data_tail in struct perf_event_mmap_page."""
_HEADER = struct.Struct("=IHH")
"""struct perf_event_header: type, misc, size."""
_SAMPLE = 9
"""PERF_RECORD_SAMPLE: after the header a 32-bit length, and the data with padding. Others count
what was lost, which the programs themselves count."""
_RAW = struct.Struct("=I")
_POSITION = struct.Struct("=Q")


def records_in(memory: mmap.mmap, size: int) -> list[bytes]:
    """Return the data of the records in the buffer of one CPU since the last call.

    `size` is that of its data, in bytes.
    """
    (head,) = _POSITION.unpack_from(memory, _HEAD)
    (tail,) = _POSITION.unpack_from(memory, _TAIL)
    start = tail % size
    data = memory[PAGE_SIZE + start : PAGE_SIZE + min(start + head - tail, size)]
    data += memory[PAGE_SIZE : PAGE_SIZE + head - tail - len(data)]
    records: list[bytes] = []
    at = 0
    while at + _HEADER.size <= len(data):
        kind, _, length = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            break
        if kind == _SAMPLE:
            begin = at + _HEADER.size + _RAW.size
            (raw,) = _RAW.unpack_from(data, begin - _RAW.size)
            records.append(data[begin : begin + raw])
        at += length
    _POSITION.pack_into(memory, _TAIL, head)
    return records


class PerfBuffer:
    """The buffers of all CPUs that are online. Methods raise OSError."""

    def __init__(self, table: int, record_bytes: int) -> None:
        """Open the buffers, and enter them into the map of perf events with this descriptor.

        `record_bytes` is the length of a record without padding.
        """
        self._record_bytes = record_bytes
        self._events: list[int] = []
        self._memory: list[mmap.mmap] = []
        self._poll = select.epoll()
        try:
            for cpu in cpus_of(ONLINE.read_text(encoding="ascii")):
                self._open(table, cpu)
        except BaseException:
            self.close()
            raise

    def _open(self, table: int, cpu: int) -> None:
        attr = PERF_ATTR.pack(
            _SOFTWARE, PERF_ATTR.size, _BPF_OUTPUT, 1, _SAMPLE_RAW, 0, 0, 1, 0, 0, 0
        )
        event = bpf_calls.system_call(SYS_PERF_EVENT_OPEN, attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC)
        self._events.append(event)
        self._memory.append(mmap.mmap(event, (1 + _PAGES) * PAGE_SIZE, mmap.MAP_SHARED))
        bpf_calls.update_number(table, cpu, event)
        fcntl.ioctl(event, IOC_ENABLE, 0)
        self._poll.register(event, select.EPOLLIN)

    @property
    def fd(self) -> int:
        """A descriptor that is readable while there are records."""
        return self._poll.fileno()

    def take(self, most: int) -> list[bytes]:
        """Return up to `most` records since the last call or more, in the order of their times.

        The first 64-bit word of a record is its time. A call ends even if records keep coming.
        """
        records: list[bytes] = []
        for memory in self._memory:
            if len(records) < most:
                records += records_in(memory, _PAGES * PAGE_SIZE)
        records.sort(key=_time_of)
        return [record[: self._record_bytes] for record in records]

    def close(self) -> None:
        """Give the memory and the descriptors back."""
        self._poll.close()
        for memory in self._memory:
            memory.close()
        for event in self._events:
            os.close(event)
        self._memory, self._events = [], []


def _time_of(record: bytes) -> int:
    return int(_POSITION.unpack_from(record)[0])
