# SPDX-License-Identifier: GPL-2.0-only
"""The program of the lives of pages, over a kernel that loads nothing."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from lives_by_hand import RECORDS, START_NS, events
from synthetic import MODERN

from pageinspect.errors import PageInspectError
from pageinspect.trace import bpf_program
from pageinspect.trace import life as module
from pageinspect.trace.life import PageLifeProgram
from pageinspect.trace.life_records import LIFE_EVENT, POINTS, LifeLost
from pageinspect.trace.options import Filters

FILTERS = Filters(pfns=((0x40, 0x48),))
VMCOREINFO = {"NUMBER(MAX_PHYSMEM_BITS)": "46"}


class Table:
    """Stands for a map."""

    def __init__(self, losses: tuple[int, int] = (0, 0)) -> None:
        self.filled: list[Any] = []
        self._losses = losses

    def fill(self, rows: Any) -> None:
        self.filled += rows.tolist()

    def read_percpu(self, keys: int) -> Any:
        return np.array(self._losses, np.uint64)[:keys, None]


class Loaded:
    """Stands for the program."""

    def __init__(self, compiler: Any, _source: str, defines: dict[str, str], hooks: Any) -> None:
        self.defines = defines
        self.hooks = hooks
        lacks = compiler.lacks
        self.functions = {h.function for h in hooks if h.place not in lacks}
        self.maps = {name: Table() for name in ("ranges", "vmemmap", "events")}
        self.maps["lost"] = Table((3, 4))
        self.records: list[bytes] = []
        compiler.loaded.append(self)

    def open_records(self, name: str, record_bytes: int) -> int:
        assert (name, record_bytes) == ("events", LIFE_EVENT.itemsize)
        return 9

    def take_records(self, _name: str) -> list[bytes]:
        taken, self.records = self.records, []
        return taken

    def missed(self) -> int:
        return 2

    def close(self) -> None:
        self.maps = {}


def program(
    monkeypatch: pytest.MonkeyPatch, *lacks: str, layout: Any = MODERN
) -> tuple[PageLifeProgram, Loaded]:
    compiler = SimpleNamespace(lacks=lacks, loaded=[])
    monkeypatch.setattr(bpf_program, "LoadedProgram", Loaded)
    monkeypatch.setattr(module, "_file_defines", lambda _: {"HOST_OFFSET": "0"})
    made = PageLifeProgram(cast("Any", compiler), cast("Any", None), layout, VMCOREINFO, FILTERS)
    return made, compiler.loaded[0]


def test_ranges_and_constants_are_those_of_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    _, loaded = program(monkeypatch)
    first, end = (MODERN.vmemmap + pfn * MODERN.struct_size for pfn in (0x40, 0x48))
    assert loaded.maps["ranges"].filled == [(first, end, 0)]
    assert loaded.maps["vmemmap"].filled == [MODERN.vmemmap]
    assert loaded.defines["SWAP_PFN_MASK"] == f"{(1 << 34) - 1:#x}ULL"
    assert loaded.defines["ONLY_PAGES"] == "1"
    optional = {hook.place: hook.optional for hook in loaded.hooks}
    assert [place for place in optional if not optional[place]] == ["mm_page_alloc", "mm_page_free"]


def test_what_the_kernel_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    made, _ = program(monkeypatch, "ksm_merge_one_page", "memory_failure_event")
    assert made.lacking() == ("ksm_merge_one_page", "memory_failure_event")
    assert len(made.lacking()) < len(POINTS)


def test_events_above_the_most_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_KEPT", 4)
    made, loaded = program(monkeypatch)
    loaded.records = [*RECORDS]
    assert tuple(made.take_events(START_NS)) == events()
    loaded.records = [*RECORDS]
    assert tuple(made.take_events(START_NS)) == events()[:1]
    loaded.records = [*RECORDS]
    assert made.take_events(START_NS) == []
    assert made.read() == LifeLost(missed=2, stacks=3, events=4, unkept=5)


def test_a_layout_without_files_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    with pytest.raises(PageInspectError, match="lacks what the life of a page needs"):
        program(monkeypatch, layout=replace(MODERN, index=None))
