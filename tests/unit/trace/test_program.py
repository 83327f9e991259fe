# SPDX-License-Identifier: GPL-2.0-only
"""Reading counts while pages are allocated and freed, with maps by hand."""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from synthetic import MODERN

from pageinspect.trace import bpf_program, traffic
from pageinspect.trace.held_blocks import BesideVmstat
from pageinspect.trace.kinds import KINDS, UNTYPED
from pageinspect.trace.options import TraceOptions
from pageinspect.trace.program import PageFreeProgram
from pageinspect.trace.records import LOSSES, ORDERS, WHO
from pageinspect.trace.traffic_counts import (
    ALLOCATED,
    FREED,
    SIDES,
    SOURCE,
    TRAFFIC_LOSSES,
    TrafficOptions,
)

TABLE = 2
"""A kind of TYPED."""


class _Maps(dict[str, Any]):
    """Pages of a type are freed between the readings of the maps `frees` and `who`."""

    def __init__(self, lost_who: int) -> None:
        self.freed = 0
        self.lost = np.zeros((LOSSES, 1), np.uint64)
        self.lost[0] = lost_who
        super().__init__(
            frees=SimpleNamespace(read_percpu=self.frees),
            who=SimpleNamespace(read_hash=self.who),
            lost=SimpleNamespace(read_percpu=lambda _: self.lost),
        )

    def frees(self, *_: int) -> Any:
        found = np.zeros((KINDS, ORDERS), np.uint64)
        found[UNTYPED, 3] = 7
        found[TABLE, 1] = self.freed + int(self.lost[0, 0])
        self.freed += 10
        return found

    def who(self, _dtype: Any) -> Any:
        keys = np.zeros(2, WHO)
        keys["kind"], keys["order"], keys["stack"] = TABLE, 1, (5, 6)
        return keys, np.array([self.freed - 4, 4], np.uint64)


def program(monkeypatch: pytest.MonkeyPatch, maps: _Maps) -> PageFreeProgram:
    functions = {"count_page_free": SimpleNamespace(missed=lambda: 0)}
    loaded = SimpleNamespace(functions=functions, maps=maps)
    monkeypatch.setattr(bpf_program, "LoadedProgram", lambda *_: loaded)
    return PageFreeProgram(cast("Any", None), MODERN, TraceOptions(by=("caller",)))


def test_frees_of_a_type_are_those_of_its_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = program(monkeypatch, _Maps(lost_who=0))
    first = reader.read()
    assert first.frees[TABLE].tolist() == [0, 10, *[0] * (ORDERS - 2)]
    assert first.untyped[3] == 7
    for _ in range(2):
        second = reader.read()
        since = second - first
        assert since.frees[TABLE].sum() == sum(since.who.values()) == 10
        first = second


def test_frees_without_a_place_for_their_caller_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counts = program(monkeypatch, _Maps(lost_who=3)).read()
    assert counts.frees[TABLE, 1] == counts.lost.who == 3


@pytest.mark.parametrize("lost", [0, 2])
def test_all_allocations_and_frees_are_the_sums_of_their_rows(
    monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    def events(_dtype: Any) -> Any:
        keys = np.zeros(3, SOURCE)
        keys["side"], keys["order"] = (ALLOCATED, ALLOCATED, FREED), (0, 4, 0)
        return keys, np.array([5, 1, 7], np.uint64)

    losses = np.zeros((TRAFFIC_LOSSES, 1), np.uint64)
    losses[0] = lost
    maps = {
        "traffic": SimpleNamespace(read_hash=events),
        # One page is allocated between the readings.
        "sides": SimpleNamespace(read_percpu=lambda *shape: np.ones(shape, np.uint64)),
        "lost": SimpleNamespace(read_percpu=lambda _: losses),
    }
    functions = {name: SimpleNamespace(missed=lambda: 0) for name in ("count_free", "other")}
    loaded = SimpleNamespace(functions=functions, maps=maps)
    monkeypatch.setattr(bpf_program, "LoadedProgram", lambda *_: loaded)
    monkeypatch.setattr(bpf_program, "read_beside", lambda _: BesideVmstat())
    monkeypatch.setattr(traffic, "read_btf", lambda _: None)
    monkeypatch.setattr(traffic, "bulk_hooks", lambda _: ({}, []))
    program = traffic.TrafficProgram(cast("Any", None), MODERN, TrafficOptions())
    counts = program.read()
    if lost:
        assert (counts.sides == np.ones((SIDES, ORDERS))).all()
    else:
        assert (counts.pages(ALLOCATED), counts.pages(FREED)) == (5 + (1 << 4), 7)
