# SPDX-License-Identifier: GPL-2.0-only
"""Reads the records of a BPF ring buffer from the memory that the kernel shares.

The first page has the reader's position, the second one that of the writers, and the data follows
twice, so that a record never wraps. Each record has a header of two 32-bit words: its length with
two flags, and an offset that only the kernel uses. Positions only grow; the data of a position is
at its remainder by the size. On x86_64, stores become visible in order and loads are done in order,
so plain accesses suffice.
"""

import mmap
import struct

from ..model.arch import PAGE_SIZE

_POSITION = struct.Struct("=Q")
_LENGTH = struct.Struct("=I")
_HEADER_BYTES = 8
_BUSY, _DISCARDED = 1 << 31, 1 << 30
"""Flags of the length: the record is still written, or is to be skipped."""


class RingBuffer:
    """A reader of a ring buffer, its only one."""

    def __init__(self, fd: int, size: int) -> None:
        """Map the ring buffer with this descriptor and `size` bytes of data. Raises OSError."""
        self._reader = mmap.mmap(fd, PAGE_SIZE, mmap.MAP_SHARED)
        self._writers = mmap.mmap(
            fd, PAGE_SIZE + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=PAGE_SIZE
        )
        self._size = size

    def take(self, most: int) -> list[bytes]:
        """Return the records since the last call, oldest first, up to `most`."""
        records: list[bytes] = []
        with memoryview(self._writers) as writers:
            (position,) = _POSITION.unpack_from(self._reader)
            (end,) = _POSITION.unpack_from(writers)
            while position < end and len(records) < most:
                at = PAGE_SIZE + position % self._size
                (length,) = _LENGTH.unpack_from(writers, at)
                if length & _BUSY:
                    break
                discarded, length = length & _DISCARDED, length & ~_DISCARDED
                start = at + _HEADER_BYTES
                if not discarded:
                    records.append(bytes(writers[start : start + length]))
                position += _HEADER_BYTES + -(-length // 8) * 8
                _POSITION.pack_into(self._reader, 0, position)
        return records

    def close(self) -> None:
        """Give the memory back."""
        self._reader.close()
        self._writers.close()
