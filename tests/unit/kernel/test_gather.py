# SPDX-License-Identifier: GPL-2.0-only
"""Words of memory that are read together."""

import numpy as np
import pytest
from drgn import Architecture, FaultError, Platform, Program

from pageinspect.kernel import gather
from pageinspect.kernel.gather import gather_words

BASE = 0xFFFF888000000000
PAGE = 4096
PAGES = 512


class Recorded:
    """Memory of which each word has its own address, but for lost pages."""

    def __init__(self, *lost: int) -> None:
        self.prog = Program(Platform(Architecture.X86_64))
        self.lost = lost
        self.reads: list[tuple[int, int]] = []
        self.prog.add_memory_segment(BASE, PAGES * PAGE, self._read)

    def _read(self, address: int, count: int, offset: int, _physical: bool) -> bytes:
        pages = range(offset // PAGE, (offset + count - 1) // PAGE + 1)
        self.reads.append((pages[0], len(pages)))
        for page in pages:
            if page in self.lost:
                raise FaultError("not there", BASE + page * PAGE)
        return np.arange(address, address + count, 8, dtype=np.uint64).tobytes()


def test_values_in_the_order_of_the_addresses() -> None:
    memory = Recorded()
    rng = np.random.default_rng(1)
    addresses = BASE + rng.integers(0, PAGES * PAGE // 8, 2000).astype(np.uint64) * np.uint64(8)
    values, readable = gather_words(memory.prog, addresses)
    assert (values == addresses).all()
    assert readable.all()
    pages = {page for first, n in memory.reads for page in range(first, first + n)}
    assert sum(n for _, n in memory.reads) == len(pages)


def test_neighbours_are_read_together_and_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gather, "_PAGES_AT_ONCE", 4)
    memory = Recorded()
    addresses = BASE + np.array([9, 1, 2, 3, 4, 5, 20, 2], np.uint64) * np.uint64(PAGE)
    values, _ = gather_words(memory.prog, addresses + np.uint64(3))
    assert (values == addresses).all()
    # BASE is a multiple of 4 pages.
    assert memory.reads == [(1, 3), (4, 2), (9, 1), (20, 1)]


def test_what_cannot_be_read_leaves_the_rest() -> None:
    memory = Recorded(2, 3)
    # In cores of QEMU, address 0 can be read.
    memory.prog.add_memory_segment(0, PAGE, lambda _address, count, *_rest: bytes(count))
    offsets = [PAGE + 8, 2 * PAGE, 3 * PAGE + 8, 4 * PAGE + 16]
    addresses = np.array([8, *(BASE + o for o in offsets), (1 << 64) - 1], np.uint64)
    values, readable = gather_words(memory.prog, addresses)
    assert readable.tolist() == [False, True, False, False, True, False]
    assert values[readable].tolist() == addresses[readable].tolist()
    assert not values[~readable].any()


def test_nothing() -> None:
    values, readable = gather_words(Recorded().prog, np.empty(0, np.uint64))
    assert (len(values), len(readable)) == (0, 0)
