# SPDX-License-Identifier: GPL-2.0-only
"""Two copies of a BPF function, so that it runs although it already runs on that CPU.

The kernel skips a function on a CPU where it has not returned: since Linux kernel commit
05b24ff9b2cf ("bpf: Prevent bpf program recursion for raw tracepoint probes") (in v6.2). What an
interrupt frees meanwhile is little. But where a task may be preempted within it
(abilities.preempts_programs()), so is all that other tasks free on that CPU until it goes on. The
first copy marks the CPU while it runs; the second, attached to the same place, does nothing on a
CPU without a mark.
"""

import numpy as np

from .bpf_calls import ARRAY, INSTRUCTION, MapShape
from .maps import BpfMap, possible_cpus

_CPU_BITS = 6
"""A CPU has 1 << 6 bytes, so that CPUs do not write to the same cache line."""
_MARK, _RUNS = 0, 8
"""Offsets there: whether the first copy runs, and runs of the second."""

_LOAD_64, _LOAD, _STORE, _ATOMIC_ADD = 0x18, 0x79, 0x7A, 0xDB
_MOVE, _SET, _ADD, _AND, _SHIFT = 0xBF, 0xB7, 0x0F, 0x57, 0x67
_JUMP, _IF_SET, _CALL, _EXIT = 0x06, 0x55, 0x85, 0x95
"""Codes of instructions; the distance of the unconditional jump has 32 bits."""
_THIS_CPU = 8
"""Of the helpers: bpf_get_smp_processor_id()."""
_MAP_VALUE, _FUNCTION = 2, 1
"""Source registers that say what the number of a load, or of a call, refers to."""


class NestedRuns:
    """The marks of a function on each CPU, and how often its second copy ran."""

    def __init__(self) -> None:
        """Make their map. Raises PageInspectError."""
        self._cpus = 1 << max(possible_cpus()).bit_length()
        self._map = BpfMap("nested", MapShape(ARRAY, 4, self._cpus << _CPU_BITS, 1))

    def copies(self, instructions: bytes) -> list[bytes]:
        """Return the first and the second copy of the function.

        Raises ValueError for one that calls functions of its own.
        """
        of_cpu = self._of_cpu()
        return [_first(instructions, of_cpu), _second(instructions, of_cpu)]

    def _of_cpu(self) -> bytes:
        """Return instructions that set register 1 to the address of what this CPU has."""
        return (
            _of(_CALL, number=_THIS_CPU)
            # For the verifier, which knows no bound of it.
            + _of(_AND, 0, number=self._cpus - 1)
            + _of(_SHIFT, 0, number=_CPU_BITS)
            + _of(_LOAD_64, 1, _MAP_VALUE, number=self._map.fd)
            + _of(0)
            + _of(_ADD, 1, 0)
        )

    def runs(self) -> int:
        """Return how often the second copy ran."""
        values = np.zeros((1, self._cpus, (1 << _CPU_BITS) // 8), np.uint64)
        self._map.look_up([0], values)
        return int(values[..., _RUNS // 8].sum())

    def close(self) -> None:
        """Give the map back to the kernel."""
        self._map.close()


def _first(instructions: bytes, of_cpu: bytes) -> bytes:
    """Return a function that marks the CPU until it returns."""
    mark, unmark = (of_cpu + _of(_STORE, 1, offset=_MARK, number=n) for n in (1, 0))
    before = _of(_MOVE, 6, 1) + mark + _of(_MOVE, 1, 6)
    after = _of(_MOVE, 6, 0) + unmark + _of(_MOVE, 0, 6) + _of(_EXIT)
    return before + _to_end(instructions) + after


def _second(instructions: bytes, of_cpu: bytes) -> bytes:
    """Return a function that returns at once on a CPU without a mark."""
    leave = _of(_SET, 0) + _of(_EXIT)
    unless_marked = _of(_LOAD, 0, 1, offset=_MARK) + _of(_IF_SET, 0, offset=2) + leave
    count = _of(_ATOMIC_ADD, 1, 0, offset=_RUNS)
    return _of(_MOVE, 6, 1) + of_cpu + unless_marked + count + _of(_MOVE, 1, 6) + instructions


def _to_end(instructions: bytes) -> bytes:
    """Return instructions that go on behind the last one where they would return."""
    body = bytearray(instructions)
    last = len(body) // INSTRUCTION.size - 1
    is_data = False
    for number, (code, registers, _, _) in enumerate(INSTRUCTION.iter_unpack(instructions)):
        if code == _CALL and registers >> 4 == _FUNCTION and not is_data:
            raise ValueError(f"instruction {number} calls a function of the program")
        if code == _EXIT and not is_data:
            INSTRUCTION.pack_into(body, number * INSTRUCTION.size, _JUMP, 0, 0, last - number)
        # A 64-bit number has the place of two instructions.
        is_data = code == _LOAD_64 and not is_data
    return bytes(body)


def _of(code: int, to: int = 0, source: int = 0, *, offset: int = 0, number: int = 0) -> bytes:
    return INSTRUCTION.pack(code, source << 4 | to, offset, number)
