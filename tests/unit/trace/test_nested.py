# SPDX-License-Identifier: GPL-2.0-only
"""Two copies of a function: one that marks the CPU, and one that runs on a marked CPU alone."""

import os
import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from pageinspect.trace import bpf_calls, nested
from pageinspect.trace.maps import BpfMap
from pageinspect.trace.nested import NestedRuns


def of(code: int, registers: int = 0, offset: int = 0, immediate: int = 0) -> bytes:
    """As Documentation/bpf/standardization/instruction-set.rst has it."""
    return struct.pack("<BBhi", code, registers, offset, immediate)


EXIT = of(0x95)
ZERO = of(0xB7)
"""r0 = 0"""
LOOKS_LIKE_EXIT = of(0x18, 0x01) + of(0x95)
"""r1 = a number of 64 bits, whose second half has the code of an exit."""
BODY = of(0x15, 0x01, 2) + ZERO + EXIT + LOOKS_LIKE_EXIT + ZERO + EXIT


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[NestedRuns]:
    monkeypatch.setattr(bpf_calls, "create_map", lambda *_: os.open("/dev/null", os.O_RDONLY))
    # The third has been taken out.
    monkeypatch.setattr(nested, "possible_cpus", lambda: [0, 1, 3, 4])
    made = NestedRuns()
    yield made
    made.close()


def codes(instructions: bytes) -> list[int]:
    return [code for code, *_ in struct.iter_unpack("<BBhi", instructions)]


def reached(instructions: bytes, start: int, end: int) -> list[int]:
    """Return the numbers of the instructions that unconditional jumps in a range lead to."""
    every = list(struct.iter_unpack("<BBhi", instructions))
    return [n + 1 + every[n][3] for n in range(start, end) if every[n][0] == 0x06]


def test_the_first_copy_goes_on_where_the_function_returns(runs: NestedRuns) -> None:
    first, _ = runs.copies(BODY)
    begin = first.index(of(0x15, 0x01, 2)) // 8
    end = begin + len(BODY) // 8
    # The mark is set before, and cleared where both exits lead to; the number is left as it is.
    marks = [n for n, code in enumerate(codes(first)) if code == 0x7A]
    assert marks[0] < begin
    assert marks[1] > end
    assert [first[n * 8 + 4] for n in marks] == [1, 0]
    assert reached(first, begin, end) == [end, end]
    assert LOOKS_LIKE_EXIT in first
    assert codes(first)[end:].count(0x95) == 1
    assert codes(first)[-1] == 0x95


def test_the_second_copy_counts_and_runs_the_function_as_it_is(runs: NestedRuns) -> None:
    _, second = runs.copies(BODY)
    assert second.endswith(BODY)
    before = codes(second[: -len(BODY)])
    # It leaves, or adds one and runs.
    assert before.count(0x95) == before.count(0xDB) == 1
    assert before.index(0x95) < before.index(0xDB)
    # Eight CPUs have 64 bytes each.
    assert of(0x57, 0, 0, 7) + of(0x67, 0, 0, 6) in second


def test_what_has_functions_of_its_own_has_no_copies(runs: NestedRuns) -> None:
    with pytest.raises(ValueError, match="instruction 1 calls a function"):
        runs.copies(ZERO + of(0x85, 0x10, 0, 1) + EXIT + ZERO + EXIT)


def test_runs_are_the_sum_over_all_cpus(runs: NestedRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(_map: BpfMap, keys: list[int], values: npt.NDArray[np.uint64]) -> None:
        assert keys == [0]
        (of_cpus,) = values
        of_cpus[:, 0] = 1
        of_cpus[[0, 4], 1] = 5, 6

    monkeypatch.setattr(BpfMap, "look_up", look_up)
    assert runs.runs() == 11
