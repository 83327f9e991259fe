# SPDX-License-Identifier: GPL-2.0-only
"""What the programs of bpf/ have in common, with a program and counters by hand."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from synthetic import MODERN

from pageinspect.errors import PageInspectError
from pageinspect.trace import bpf_program as module
from pageinspect.trace.bpf_program import BpfProgram, ComparedProgram
from pageinspect.trace.held_blocks import BesideVmstat
from pageinspect.trace.options import Filters


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
