# SPDX-License-Identifier: GPL-2.0-only
"""Records of a ring buffer that is written here, by the layout of kernel/bpf/ringbuf.c."""

import mmap
import struct
from collections.abc import Iterator

import pytest

from pageinspect.trace import ring_buffer as module
from pageinspect.trace.ring_buffer import RingBuffer

PAGE = mmap.PAGESIZE
SIZE = PAGE
BUSY, DISCARDED = 1 << 31, 1 << 30


class Shared:
    """What the kernel maps: a page for each position, and the data twice."""

    def __init__(self) -> None:
        self.reader = mmap.mmap(-1, PAGE)
        self.writers = mmap.mmap(-1, PAGE + 2 * SIZE)
        self.end = 0

    def start_at(self, position: int) -> None:
        self.end = position
        struct.pack_into("=Q", self.reader, 0, position)

    def add(self, content: bytes, flags: int = 0) -> None:
        record = struct.pack("=II", len(content) | flags, 0) + content.ljust(
            -(-len(content) // 8) * 8, b"\xff"
        )
        for i, byte in enumerate(record):
            at = PAGE + (self.end + i) % SIZE
            self.writers[at] = self.writers[at + SIZE] = byte
        self.end += len(record)
        struct.pack_into("=Q", self.writers, 0, self.end)

    def allow(self, position: int) -> None:
        """Set the flags of the record at a position to none, as when it is submitted."""
        at = PAGE + position % SIZE
        (length,) = struct.unpack_from("=I", self.writers, at)
        struct.pack_into("=I", self.writers, at, length & ~BUSY)


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shared]:
    memory = Shared()

    def mapped(fd: int, length: int, *_: object, offset: int = 0) -> mmap.mmap:
        assert (fd, offset, length) in {(9, 0, PAGE), (9, PAGE, PAGE + 2 * SIZE)}
        return memory.writers if offset else memory.reader

    monkeypatch.setattr(module.mmap, "mmap", mapped)
    yield memory
    monkeypatch.undo()


def test_records_are_taken_once_and_in_order(shared: Shared) -> None:
    ring = RingBuffer(9, SIZE)
    assert ring.take(10) == []
    for content in (b"first", b"second 8", b""):
        shared.add(content)
    assert ring.take(2) == [b"first", b"second 8"]
    assert ring.take(2) == [b""]
    assert ring.take(2) == []
    assert struct.unpack_from("=Q", shared.reader) == (shared.end,)


def test_a_record_that_is_still_written_ends_them_a_discarded_one_is_left_out(
    shared: Shared,
) -> None:
    ring = RingBuffer(9, SIZE)
    shared.add(b"discarded", DISCARDED)
    shared.add(b"one")
    written = shared.end
    shared.add(b"two", BUSY)
    shared.add(b"three")
    assert ring.take(10) == [b"one"]
    assert struct.unpack_from("=Q", shared.reader) == (written,)
    shared.allow(written)
    assert ring.take(10) == [b"two", b"three"]


def test_records_at_the_end_of_the_data_go_on_in_its_second_copy(shared: Shared) -> None:
    shared.start_at(7 * SIZE - 16)
    ring = RingBuffer(9, SIZE)
    shared.add(b"across the end of it")
    shared.add(b"after")
    assert ring.take(10) == [b"across the end of it", b"after"]
