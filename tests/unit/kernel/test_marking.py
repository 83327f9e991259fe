# SPDX-License-Identifier: GPL-2.0-only
"""Which tasks are in the code that marks pages, on stacks made by hand."""

import numpy as np
import pytest
from drgn import FaultError

from pageinspect.kernel import marking
from pageinspect.target.qemu.open import _registers

START, END = 0xFFFFC90000010000, 0xFFFFC90000014000
TEXT = marking._Text(
    ["allocate_slab", "free_slab"],
    np.array([0xFFFFFFFF81000100, 0xFFFFFFFF81000900], np.uint64),
    np.array([0xFFFFFFFF81000200, 0xFFFFFFFF81000A00], np.uint64),
)


class Memory:
    """A Program that has some stacks, and faults beyond."""

    def __init__(self, stacks: dict[int, np.ndarray]) -> None:
        self._stacks = stacks

    def read(self, address: int, size: int) -> bytes:
        for start, words in self._stacks.items():
            offset = address - start
            if 0 <= offset < words.nbytes:
                return words.tobytes()[offset : offset + size]
        raise FaultError("not there", address)


class Word(int):
    def value_(self) -> int:
        return int(self)


class Task:
    stack = Word(START)


def stack(**words: int) -> np.ndarray:
    """Return a stack with these words, by their place behind its start in hex."""
    made = np.zeros((END - START) // 8, np.uint64)
    for place, word in words.items():
        made[int(place[1:], 16) // 8] = word
    return made


def test_only_return_addresses_into_the_functions_count() -> None:
    words = [0xFFFFFFFF81000100, 0xFFFFFFFF810001FF, 0xFFFFFFFF81000200, 0xFFFFFFFF810009F0, 5]
    assert TEXT.named(np.array(words[:2], np.uint64)) == {"allocate_slab"}
    assert TEXT.named(np.array(words[2:3], np.uint64)) == set()
    assert TEXT.named(np.array(words, np.uint64)) == {"allocate_slab", "free_slab"}


@pytest.mark.parametrize(
    ("pc", "sp", "named"),
    [
        (0xFFFFFFFF82000000, START + 0x3000, {"allocate_slab"}),
        # What lies below the stack pointer is of calls that are over.
        (0xFFFFFFFF82000000, START + 0x3808, set()),
        (0xFFFFFFFF81000910, START + 0x3808, {"free_slab"}),
        # In user space nothing is marked.
        (0x00007F0000000000, START + 0x3000, set()),
    ],
)
def test_the_stack_of_a_cpu_from_its_stack_pointer_up(pc: int, sp: int, named: set[str]) -> None:
    prog = Memory({START: stack(w3800=0xFFFFFFFF81000104)})
    words = marking._of_cpu(prog, 0, Task(), {0: (pc, sp)})  # type: ignore[arg-type]
    assert TEXT.named(words) == named


def test_an_interrupt_has_a_stack_of_its_own_that_leads_to_the_tasks() -> None:
    irq = 0xFFFFC90000100000
    stacks = {
        START: stack(w3800=0xFFFFFFFF81000104, w100=0xFFFFFFFF81000904),
        irq: stack(w3ff8=START + 0x3000),
    }
    registers = {0: (0xFFFFFFFF82000000, irq + 0x3F00)}
    words = marking._of_cpu(Memory(stacks), 0, Task(), registers)  # type: ignore[arg-type]
    assert TEXT.named(words) == {"allocate_slab"}


def test_what_of_a_stack_cannot_be_read_is_left_out() -> None:
    registers = {0: (0xFFFFFFFF81000104, START + 0x3000)}
    words = marking._of_cpu(Memory({}), 0, Task(), registers)  # type: ignore[arg-type]
    assert words.tolist() == [0xFFFFFFFF81000104]


class Monitor:
    def human_command(self, line: str) -> str:
        assert line == "info registers -a"
        return (
            "\r\nCPU#0\r\nRAX=0000000000000000 RBX=0000000000000001\r\nRSI=0 RBP=0 "
            "RSP=ffffc90000013e98\r\nRIP=ffffffff81000104 RFL=00000246\r\n\r\nCPU#1\r\n"
            "RSP=00007ffd00000000\r\nRIP=00007f0000000000 RFL=00000202\r\n"
        )


def test_registers_as_qemu_prints_them() -> None:
    assert _registers(Monitor()) == {  # type: ignore[arg-type]
        0: (0xFFFFFFFF81000104, 0xFFFFC90000013E98),
        1: (0x00007F0000000000, 0x00007FFD00000000),
    }
