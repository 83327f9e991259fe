# SPDX-License-Identifier: GPL-2.0-only
"""Maps read and written over a kernel that keeps values by their keys."""

import ctypes
import errno
import os

import numpy as np
import pytest

from pageinspect.errors import PageInspectError
from pageinspect.trace import bpf_calls
from pageinspect.trace import maps as module
from pageinspect.trace.bpf_calls import MapShape
from pageinspect.trace.maps import BpfMap, possible_cpus

LOOK_UP, UPDATE, BATCH = 1, 2, 24


@pytest.mark.parametrize(
    ("text", "cpus"), [("0\n", 1), ("0-3\n", 4), ("0-3,8\n", 5), ("0,2-3,64-127\n", 67)]
)
def test_possible_cpus(text: str, cpus: int) -> None:
    assert possible_cpus(text) == cpus


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> dict[int, bytes]:
    """Return what the one map has, by key. Values have 16 bytes."""
    values: dict[int, bytes] = {}

    def bpf(command: int, attr: bpf_calls.Element | bpf_calls.Batch) -> int:
        assert attr.map_fd == 9
        if command == BATCH:
            for i, (key, value) in enumerate(values.items()):
                ctypes.memmove(attr.keys + 4 * i, key.to_bytes(4, "little"), 4)
                ctypes.memmove(attr.values + 16 * i, value, 16)
            attr.count = len(values)
            raise OSError(errno.ENOENT, "end of the map")
        key = ctypes.c_uint32.from_address(attr.key).value
        if command == UPDATE:
            values[key] = ctypes.string_at(attr.value, 16)
        elif key in values:
            ctypes.memmove(attr.value, values[key], 16)
        else:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return 0

    monkeypatch.setattr(bpf_calls, "_bpf", bpf)
    monkeypatch.setattr(bpf_calls, "create_map", lambda _shape, _name: 9)
    return values


def pair(first: int, second: int) -> bytes:
    return first.to_bytes(8, "little") + second.to_bytes(8, "little")


def test_rows_are_values(kept: dict[int, bytes]) -> None:
    table = BpfMap("pairs", MapShape(2, 4, 16, 3))
    table.fill(np.array([[1, 2], [3, 4]], np.uint64))
    assert kept == {0: pair(1, 2), 1: pair(3, 4)}
    into = np.zeros((2, 2), np.uint64)
    table.look_up([1, 0], into)
    assert into.tolist() == [[3, 4], [1, 2]]
    with pytest.raises(PageInspectError, match="refuses to read the map pairs: No such file"):
        table.look_up([2], into)


def test_copies_of_the_cpus_are_added_up(
    kept: dict[int, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    possible = module.Path(tmp_path) / "possible"
    possible.write_text("0-1\n")
    monkeypatch.setattr(module, "_POSSIBLE", possible)
    kept.update({0: pair(1, 2), 1: pair(1 << 40, 0)})
    assert BpfMap("counts", MapShape(6, 4, 8, 2)).read_percpu(2).tolist() == [[3], [1 << 40]]


def test_a_hash_is_read_at_once(kept: dict[int, bytes]) -> None:
    kept.update({70: pair(1, 2), 80: pair(3, 4)})
    value = np.dtype([("low", np.uint64), ("high", np.uint64)])
    keys, values = BpfMap("hash", MapShape(1, 4, 16, 8)).read_hash(np.uint32, value)
    assert keys.tolist() == [70, 80]
    assert values.tolist() == [(1, 2), (3, 4)]
