# SPDX-License-Identifier: GPL-2.0-only
"""Where the memory of QEMU has that of its guest."""

import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from drgn import FaultError

from pageinspect.target.qemu import process
from pageinspect.target.qemu.process import DeniedError

if TYPE_CHECKING:
    from drgn import Program

    from pageinspect.target.qemu.monitor import Monitor


class SlowMonitor:
    """A monitor that names many regions of RAM, and takes its time to say where each one is."""

    def human_command(self, line: str) -> str:
        if line == "info mtree -f":
            rows = (
                f"  {i:016x}-{i + 0xFFF:016x} (prio 0, ram): r\n" for i in range(0, 1 << 21, 4096)
            )
            return 'FlatView #0\n AS "memory", root: s\n Root memory region: s\n' + "".join(rows)
        time.sleep(0.05)
        return "Host virtual address for 0 (r) is 0x1000"


def test_all_questions_together_have_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LOCATE_RAM_S", 0.3)
    with pytest.raises(DeniedError, match="took more than"):
        process._segments(cast("Monitor", SlowMonitor()), -1)


DIRECT = 0xFFFF_8880_0000_0000
GIB = 1 << 30
ROOT = 0x1000
INFO = {"SYMBOL(swapper_pg_dir)": "ffffffff81001000", "NUMBER(phys_base)": str(-0x100_0000)}
PRESENT, HUGE = 1, 1 << 7


class Guest:
    """A program with page tables: page_offset_base has the given GiB, one after the other."""

    def __init__(self, places: Sequence[int | None], base: int = DIRECT) -> None:
        self.base = base
        self.direct: list[tuple[int, int]] = []
        top, upper = (np.zeros(512, np.uint64) for _ in range(2))
        top[DIRECT >> 39 & 511] = 0x2000 | PRESENT
        for i, place in enumerate(places):
            upper[i] = 0 if place is None else place * GIB | PRESENT | HUGE
        self.tables = {ROOT: top.tobytes(), 0x2000: upper.tobytes()}

    def __getitem__(self, name: str) -> Any:
        if name != "page_offset_base" or not self.base:
            raise KeyError(name)
        return SimpleNamespace(value_=lambda: self.base)

    def read(self, address: int, _count: int, *, physical: bool) -> bytes:
        assert physical
        if address not in self.tables:
            raise FaultError("", address)
        return self.tables[address]

    def add_memory_segment(self, start: int, size: int, _read: object) -> None:
        self.direct.append((start, size))


def mapped(guest: Guest, *ram: tuple[int, int]) -> list[tuple[int, int]]:
    memory = process._Segment(-1, 0)
    parts = [process.Ram(start, size, memory) for start, size in ram]
    process.map_directly(cast("Program", guest), INFO, parts)
    return guest.direct


def test_ram_that_is_in_its_place_is_read_without_page_tables() -> None:
    ram = (0, 2 * GIB), (4 * GIB, GIB)
    assert mapped(Guest([0, 1, None, None, 4]), *ram) == [
        (DIRECT, 2 * GIB),
        (DIRECT + 4 * GIB, GIB),
    ]


@pytest.mark.parametrize(
    "guest",
    [
        Guest([0, None]),  # its end is not mapped
        Guest([0, 3]),  # its end is mapped elsewhere
        Guest([3, 1]),  # its beginning is mapped elsewhere
        Guest([0, 1], base=0),  # a kernel without the variable
        Guest([0, 1], base=0x1000),  # memory that is damaged
        Guest([0, 1], base=(1 << 64) - GIB),
    ],
)
def test_other_ram_is_read_through_page_tables(guest: Guest) -> None:
    assert mapped(guest, (0, 2 * GIB)) == []
