# SPDX-License-Identifier: GPL-2.0-only
"""What the programs of bpf/ have in common, with a program and counters by hand."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from synthetic import MODERN

from pageinspect.errors import PageInspectError
from pageinspect.trace import bpf_program as module
from pageinspect.trace.bpf_program import BpfProgram, ComparedProgram
from pageinspect.trace.frame_sizes import FrameSizes
from pageinspect.trace.held_blocks import STACK_BITS, BesideVmstat
from pageinspect.trace.options import Filters

TEXT = 0xFFFFFFFF81000000
BLOCKS = np.array([0, 1 << 32, 0, 1], np.uint64)


class _Loaded:
    """A program of two functions, of which the kernel refuses the second."""

    def __init__(self, compiler: Any, source: str, defines: Any, _hooks: Any) -> None:
        compiler.loaded.append(self)
        self.source, self.defines = source, defines
        self.functions = {
            "first": SimpleNamespace(attached=False, missed=lambda: 3),
            "refused": SimpleNamespace(attached=False, missed=lambda: 0),
        }
        self.maps: dict[str, Any] = {"ranges": SimpleNamespace(fill=compiler.fill)}
        self.closed = False

    def attach(self) -> None:
        self.functions["first"].attached = True

    def detach(self) -> None:
        self.functions["first"].attached = False

    def close(self) -> None:
        self.closed = True


class _Counting(ComparedProgram):
    seen = (0, 0)

    def _pages(self) -> tuple[int, int]:
        return self.seen


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    monkeypatch.setattr(module, "LoadedProgram", _Loaded)
    return SimpleNamespace(loaded=[], fill=lambda _: None)


def made(compiler: SimpleNamespace, program: Any = BpfProgram, **filters: Any) -> Any:
    return program(cast("Any", compiler), "x.bpf.c", MODERN, {"A": "1"}, [], Filters(**filters))


def test_a_program_is_loaded_with_the_offsets_of_the_kernel(compiler: SimpleNamespace) -> None:
    made(compiler)
    (loaded,) = compiler.loaded
    assert (loaded.source, loaded.defines["A"]) == ("x.bpf.c", "1")
    assert loaded.defines["STRUCT_PAGE_SIZE"] == "(64)"


def test_a_map_of_ranges_that_cannot_be_filled_is_given_back(compiler: SimpleNamespace) -> None:
    def refuse(_: object) -> None:
        raise PageInspectError("full", "")

    compiler.fill = refuse
    assert made(compiler).events_fd is None
    with pytest.raises(PageInspectError, match="full"):
        made(compiler, pfns=((1, 2),))
    assert [loaded.closed for loaded in compiler.loaded] == [False, True]


def test_pages_are_compared_from_attaching_to_detaching(
    compiler: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = [100, 50]

    def read(pages: Any) -> BesideVmstat:
        return BesideVmstat(*kernel, *pages())

    monkeypatch.setattr(module, "read_beside", read)
    with made(compiler, _Counting) as program:
        program.detach()
        program.seen = (1, 1)
        program.attach()
        assert program._attached == {"first"}
        kernel[:], program.seen = (110, 54), (9, 4)
        assert program._compared() == BesideVmstat(10, 4, 8, 3)
        program.detach()
        kernel[:], program.seen = (900, 900), (10, 5)
        program.detach()
        assert program._compared() == BesideVmstat(10, 4, 8, 3)
        assert program._missed() == {"first": 3, "refused": 0}
    assert compiler.loaded[0].closed


def test_counters_that_cannot_be_read_leave_nothing_attached(
    compiler: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "read_beside", lambda _: BesideVmstat())
    program = made(compiler, _Counting)
    program.attach()

    def refuse(_: object) -> None:
        raise PageInspectError("vmstat", "")

    monkeypatch.setattr(module, "read_beside", refuse)
    with pytest.raises(PageInspectError, match="vmstat"):
        program.detach()
    assert not compiler.loaded[0].functions["first"].attached


class _Written:
    """A map that keeps what is written to it, by key, and has stacks of one frame."""

    def __init__(self) -> None:
        self.values: dict[int, Any] = {}

    def put(self, keys: Any, values: Any) -> None:
        self.values |= dict(zip(keys, values.tolist(), strict=True))

    def fill(self, values: Any) -> None:
        self.put(range(len(values)), values)

    def stack(self, number: int) -> list[int]:
        return [number]


def test_sizes_of_frames_are_given_to_the_program_and_callers_have_addresses(
    compiler: SimpleNamespace,
) -> None:
    program = made(compiler, _Counting)
    maps = {name: _Written() for name in ("text_blocks", "frame_tables", "walks", "stacks")}
    program._maps |= maps
    program._fill(None, walks=1)
    assert not any(each.values for each in maps.values())
    program._fill(FrameSizes(TEXT, BLOCKS, np.array([[0, 0], [3, 255]], np.uint8)), walks=2)
    assert maps["text_blocks"].values == {1: 1 << 32, 3: 1}
    assert maps["frame_tables"].values == {0: [0, 0], 1: [3, 255]}
    assert maps["walks"].values == {0: [TEXT, 0, 0], 1: [TEXT, 0, 0]}
    assert program.stack(0x50 << STACK_BITS) == [TEXT + 0x50]
    # A module may be below the kernel's code.
    assert program.stack(-0x50 << STACK_BITS) == [TEXT - 0x50]
    assert program.stack(7) == [7]


def test_a_map_of_frames_that_cannot_be_filled_is_given_back(compiler: SimpleNamespace) -> None:
    program = made(compiler, _Counting)
    with pytest.raises(KeyError):
        program._fill(FrameSizes(TEXT, BLOCKS, np.zeros((1, 2), np.uint8)), walks=1)
    assert compiler.loaded[0].closed
