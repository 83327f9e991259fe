# SPDX-License-Identifier: GPL-2.0-only
"""A guest's memory as dump-guest-memory gives it."""

import os
from typing import TYPE_CHECKING, cast

import elf_builder
import pytest
import qmp_server
from drgn import FaultError

from pageinspect.errors import PageInspectError
from pageinspect.target.qemu.memory import BLOCK, MonitorMemory, read_vmcoreinfo

if TYPE_CHECKING:
    from pageinspect.target.qemu.monitor import Monitor


class Dumper:
    """A monitor that gives one core for whatever part of memory."""

    def __init__(self, core: bytes) -> None:
        self.core, self.file = core, -1

    def execute(self, command: str, _: object, *, descriptor: int | None = None) -> None:
        if descriptor is not None:
            self.file = descriptor
        if command == "dump-guest-memory":
            os.pwrite(self.file, self.core, 0)


def core(*segments: tuple[int, int, int, int]) -> bytes:
    """Return an ELF core with segments (type, physical address, offset, length)."""
    parts = ((kind, offset, physical, length) for kind, physical, offset, length in segments)
    return elf_builder.elf(*(elf_builder.segment(*part) for part in parts))


def reader(made: bytes) -> MonitorMemory:
    return MonitorMemory(cast("Monitor", Dumper(made)), paused=True)


def test_a_block_is_read_by_its_pieces() -> None:
    made = core((4, 0, 0, 0), (1, 0, 500, 4), (1, 0x100000, 600, 4)).ljust(500, b"\0")
    memory = reader(made + b"ABCD".ljust(100) + b"EFGH")
    assert memory.read(0, 4, 0, True) == b"ABCD"
    assert memory.read(0x100001, 3, 0, True) == b"FGH"
    with pytest.raises(FaultError):
        memory.read(0x1000, 1, 0, True)


def test_a_core_says_no_more_than_was_asked_for() -> None:
    made = core(*[(1, BLOCK * i, 0, BLOCK) for i in range(65535)]).ljust(4 << 20, b"A")
    memory = reader(made)
    assert len(memory.read(0, BLOCK, 0, True)) == BLOCK
    ((_, pieces),) = memory._blocks.values()
    assert sum(len(data) for _, data in pieces) == BLOCK


@pytest.mark.parametrize("made", [b"", b"ELF", b"\xff" * 500, core((1, 0, 1 << 63, 4))[:100]])
def test_an_answer_that_is_not_a_core_is_an_error(made: bytes) -> None:
    with pytest.raises(PageInspectError, match="does not answer dump-guest-memory as QEMU does"):
        reader(made).read(0, 4, 0, True)


def test_vmcoreinfo_is_the_note_of_that_name() -> None:
    assert read_vmcoreinfo(cast("Monitor", Dumper(qmp_server.core()))) == qmp_server.VMCOREINFO
    assert read_vmcoreinfo(cast("Monitor", Dumper(core((4, 0, 0, 1 << 40))))) == ""
