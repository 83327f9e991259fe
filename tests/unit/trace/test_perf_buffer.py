# SPDX-License-Identifier: GPL-2.0-only
"""Records in buffers of perf, written by hand as the kernel writes them."""

import mmap
import os
import struct
from collections.abc import Iterator

import pytest

from pageinspect.model.arch import PAGE_SIZE
from pageinspect.trace import perf_buffer
from pageinspect.trace.perf_buffer import PerfBuffer, records_in

HEAD, TAIL = 1024, 1032
SAMPLE, LOST = 9, 2


class Writer:
    """The kernel's side of the buffer of one CPU."""

    def __init__(self, start: int = 0) -> None:
        self.memory = mmap.mmap(-1, 2 * PAGE_SIZE)
        self.head = start
        struct.pack_into("=QQ", self.memory, HEAD, start, start)

    def write(self, kind: int, body: bytes) -> None:
        body += bytes(-len(body) % 8)
        for byte in struct.pack("=IHH", kind, 0, 8 + len(body)) + body:
            self.memory[PAGE_SIZE + self.head % PAGE_SIZE] = byte
            self.head += 1
        struct.pack_into("=Q", self.memory, HEAD, self.head)

    def sample(self, data: bytes) -> None:
        """As the kernel does, let the length include the padding."""
        padded = data + bytes(-(len(data) + 4) % 8)
        self.write(SAMPLE, struct.pack("=I", len(padded)) + padded)


def test_samples_are_read_once_and_other_records_are_skipped() -> None:
    writer = Writer()
    writer.sample(b"first 12 byt")
    writer.write(LOST, bytes(16))
    writer.sample(b"second")
    found = records_in(writer.memory, PAGE_SIZE)
    assert [record.rstrip(b"\0") for record in found] == [b"first 12 byt", b"second"]
    assert records_in(writer.memory, PAGE_SIZE) == []
    assert struct.unpack_from("=Q", writer.memory, TAIL)[0] == writer.head


@pytest.mark.parametrize("before_end", range(0, 72, 8))
def test_a_record_may_wrap(before_end: int) -> None:
    writer = Writer(7 * PAGE_SIZE - before_end)
    writer.sample(bytes(range(60)))
    writer.sample(b"next")
    assert [record[:4] for record in records_in(writer.memory, PAGE_SIZE)] == [
        bytes(range(4)),
        b"next",
    ]


def test_a_damaged_length_ends_the_reading() -> None:
    writer = Writer()
    struct.pack_into("=IHH", writer.memory, PAGE_SIZE, SAMPLE, 0, 0)
    struct.pack_into("=Q", writer.memory, HEAD, 64)
    assert records_in(writer.memory, PAGE_SIZE) == []


@pytest.fixture
def writers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Writer]]:
    made = [Writer(), Writer()]
    memories = iter(made)
    monkeypatch.setattr(perf_buffer, "_PAGES", 1)
    monkeypatch.setattr(
        perf_buffer.mmap,
        "mmap",
        lambda *_: next(memories).memory,  # type: ignore[attr-defined]
    )
    read, write = os.pipe()
    monkeypatch.setattr(perf_buffer.bpf_calls, "system_call", lambda *_: os.dup(read))  # type: ignore[attr-defined]
    monkeypatch.setattr(perf_buffer.bpf_calls, "update_number", lambda *_: None)  # type: ignore[attr-defined]
    monkeypatch.setattr(perf_buffer.fcntl, "ioctl", lambda *_: 0)  # type: ignore[attr-defined]
    online = perf_buffer.ONLINE.parent / "possible"
    monkeypatch.setattr(perf_buffer, "ONLINE", online)
    monkeypatch.setattr(perf_buffer, "cpus_of", lambda _: [0, 1])
    yield made
    os.close(read)
    os.close(write)


def test_records_of_all_cpus_are_sorted_by_time(writers: list[Writer]) -> None:
    buffer = PerfBuffer(3, 12)
    for cpu, time in ((0, 5), (1, 2), (0, 9), (1, 7)):
        writers[cpu].sample(struct.pack("=QI", time, cpu))
    found = [struct.unpack("=QI", record) for record in buffer.take(100)]
    assert found == [(2, 1), (5, 0), (7, 1), (9, 0)]
    assert buffer.take(100) == []
    for cpu in (0, 1):
        writers[cpu].sample(struct.pack("=QI", 1, cpu))
    assert len(buffer.take(1)) == 1
    assert len(buffer.take(1)) == 1
    buffer.close()
