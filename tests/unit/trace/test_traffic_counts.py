# SPDX-License-Identifier: GPL-2.0-only
"""Counts of allocations and frees, and the -D of their program."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from synthetic import MODERN
from traffic_by_hand import SOURCES, traffic_counts

import pageinspect
from pageinspect.trace.kinds import KINDS, UNREAD, UNTYPED
from pageinspect.trace.options import Filters
from pageinspect.trace.traffic_counts import (
    ALLOCATED,
    ANONYMOUS,
    FREED,
    SIDES,
    SOURCE,
    TRAFFIC_LOSSES,
    TrafficLost,
    TrafficOptions,
    use_name,
)

HEADER = Path(pageinspect.__file__).parents[1] / "bpf/page_traffic.h"


def test_records_are_those_of_the_header() -> None:
    text = HEADER.read_text(encoding="ascii")
    body = text[text.index("struct source {") : text.index("};")]
    members = re.findall(r"^\t(u32|s32|char) (\w+)", body, re.MULTILINE)
    types = {"u32": np.uint32, "s32": np.int32, "char": "S16"}
    assert np.dtype([(name, types[kind]) for kind, name in members]) == SOURCE
    numbers = dict(re.findall(r"^#define (\w+) (\w+)", text, re.MULTILINE))
    assert [int(numbers[name]) for name in ("ALLOCATED", "FREED", "SIDES", "TRAFFIC_LOSSES")] == [
        *(ALLOCATED, FREED, SIDES),
        TRAFFIC_LOSSES,
    ]
    assert numbers["KIND_ANONYMOUS"] == "KINDS"
    assert ANONYMOUS == KINDS


def test_only_what_is_asked_for_is_recorded() -> None:
    defines = TrafficOptions(Filters(pid=7), ("caller",)).defines(MODERN)
    assert defines == {
        "ONLY_PID": "7",
        "STACK_DEPTH": "16",
        "MAPPING_OFFSET": str(MODERN.mapping),
    }
    plain = replace(MODERN, mapping=None)
    assert TrafficOptions(by=("gfp", "order", "pid")).defines(plain) == {
        "BY_GFP": "1",
        "BY_PID": "1",
    }
    assert TrafficOptions(by=("stack", "comm", "migratetype")).defines(plain) == {
        "STACK_DEPTH": "127",
        "BY_COMM": "1",
        "BY_MIGRATETYPE": "1",
    }


def test_what_a_freed_page_still_was() -> None:
    names = [use_name(MODERN, kind) for kind in (ANONYMOUS, UNREAD, UNTYPED, 0xF2)]
    assert names == ["anonymous", "unreadable", "untyped", "table"]


def test_the_counts_of_an_interval() -> None:
    before = traffic_counts(*SOURCES[:2], lost=TrafficLost(1, 2, 3, 4, 5))
    more = [(times + 1, members) for times, members in SOURCES[1:]]
    after = traffic_counts(SOURCES[0], *more, lost=TrafficLost(2, 4, 6, 8, 10))
    since = after - before
    assert sorted(since.sources.values()) == [1, 2, 4, 5, 7]
    assert (since.pages(ALLOCATED), since.pages(FREED)) == (8 + 5, 4 + 4 + 7)
    assert since.lost == TrafficLost(1, 2, 3, 4, 5)
    records, times = since.of_side(FREED)
    assert sorted(zip(records["order"].tolist(), times.tolist(), strict=True)) == [
        *((0, 4), (0, 7)),
        (1, 2),
    ]


def test_more_events_than_a_32_bit_number_has() -> None:
    counts = traffic_counts((1 << 33, {"side": ALLOCATED, "order": 10}))
    assert counts.pages(ALLOCATED) == 1 << 43
