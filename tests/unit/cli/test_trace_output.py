# SPDX-License-Identifier: GPL-2.0-only
"""Where reports, events and alarms of a run go."""

import io
import json
import os
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from trace_reports import EVENTS, STACKS, ZSMALLOC, ZSWAP, broken_down, counts, report, watch

from pageinspect.cli.intervals import until_reader_leaves
from pageinspect.cli.trace_output import Output, Watch, is_redrawn
from pageinspect.report.event import EventLines
from pageinspect.trace.records import Event, Lost


def arguments(**given: Any) -> Namespace:
    plain = {"folded": False, "interval": None, "events": False, "format": "table", "output": None}
    return Namespace(**(plain | {"disallow": None, "mode": None} | given))


def output(stream: io.StringIO, **given: Any) -> Output:
    return Output(arguments(**given), EventLines(broken_down().subject), stream)


@pytest.mark.parametrize(
    ("form", "lines"),
    [
        ("csv", ["time_ns,", "1,", "2,"]),
        ("json", ["{", "{", '{"schema"']),
        (
            "jsonl",
            [
                '{"table": "events", "time_ns": 1,',
                '{"table": "events", "time_ns": 2,',
                '{"table": "frees", "type": "zsmalloc"',
                '{"table": "frees", "type": "untyped"',
                '{"table": "frees", "type": "lost"',
            ],
        ),
    ],
)
def test_events_have_one_header_and_the_report_after_them(form: str, lines: list[str]) -> None:
    stream = io.StringIO()
    to = output(stream, events=True, format=form)
    for event in EVENTS:
        to.events([event])
    to.report(broken_down())
    written = stream.getvalue().splitlines()
    assert len(written) == len(lines)
    assert all(line.startswith(start) for line, start in zip(written, lines, strict=True))


def test_a_run_without_events_has_the_header_all_the_same() -> None:
    stream = io.StringIO()
    output(stream, events=True).report(broken_down())
    assert stream.getvalue().split()[:3] == ["seconds", "cpu", "pid"]
    assert "Linux 7.3.4-test" in stream.getvalue()


def test_csv_of_intervals_has_one_header() -> None:
    stream = io.StringIO()
    to = output(stream, interval=1.0, format="csv")
    for start_ns in (0, 1_500_000_000):
        to.report(broken_down("comm", interval=True, start_ns=start_ns))
    assert stream.getvalue().count("end_ns,type") == 1
    assert stream.getvalue().count("kswapd0") == 2


def test_intervals_in_json_lines_are_rows_with_their_times() -> None:
    stream = io.StringIO()
    to = output(stream, interval=1.0, format="jsonl")
    for start_ns in (0, 1_500_000_000):
        to.report(broken_down("comm", interval=True, start_ns=start_ns))
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    freed = [(row["start_ns"], row["comm"], row["frees"]) for row in rows if row["comm"]]
    assert freed == [
        (0, "sh\\x1b[1m", 20),
        (0, "kswapd0", 10),
        (1_500_000_000, "sh\\x1b[1m", 20),
        (1_500_000_000, "kswapd0", 10),
    ]
    assert "table" not in rows[0]


def test_metrics_of_intervals_replace_the_file_and_only_grow(tmp_path: Path) -> None:
    path = tmp_path / "trace.prom"
    to = output(io.StringIO(), interval=1.0, format="prometheus", output=path, mode=0o644)
    places = []
    for n in (2, 5):
        counted = counts({(ZSMALLOC, 0): n}, {0: 1}, missed=n)
        to.report(report(counted, interval=True, since_start=True))
        families = {f.name: f for f in text_string_to_metric_families(path.read_text())}
        info = families.pop("pageinspect_trace_info")
        assert (info.type, {family.type for family in families.values()}) == ("gauge", {"counter"})
        frees = families["pageinspect_trace_frees"].samples
        assert {s.labels["type"]: s.value for s in frees} == {"zsmalloc": n, "untyped": 1}
        assert {s.name for s in frees} == {"pageinspect_trace_frees_total"}
        assert families["pageinspect_trace_lost_events"].samples[0].value == n
        assert path.stat().st_mode & 0o777 == 0o644
        places.append(path.stat().st_ino)
    assert len({*places}) == 2


def test_a_redrawn_table_starts_over_and_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINES", "5")
    monkeypatch.setenv("COLUMNS", "80")
    stream = io.StringIO()
    to = output(stream, interval=1.0)
    for start_ns in (0, 1_500_000_000):
        to.report(broken_down(interval=True, redrawn=True, start_ns=start_ns))
    _, *screens = stream.getvalue().split("\x1b[H\x1b[2J")
    assert [screen.count("\n") for screen in screens] == [4, 4]
    assert all(screen.startswith("Linux 7.3.4-test") for screen in screens)
    assert not is_redrawn(arguments(interval=1.0, output=Path("file")))
    assert not is_redrawn(arguments())


def test_alarms_are_not_wiped_off_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: True))
    assert is_redrawn(arguments(interval=1.0))
    assert not is_redrawn(arguments(interval=1.0, disallow=("zsmalloc",)))


@pytest.mark.parametrize("given", [{"folded": True}, {"events": True, "format": "csv"}])
def test_lost_frees_go_to_standard_error_where_the_format_has_no_place(
    given: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = replace(broken_down(stacks=True), lost=Lost(missed=3))
    output(io.StringIO(), output=tmp_path / "file", **given).report(report)
    assert "3" in capsys.readouterr().err


def test_folded_stacks_go_to_the_file_alone(tmp_path: Path) -> None:
    stream = io.StringIO()
    to = output(stream, folded=True, output=tmp_path / "folded")
    to.report(broken_down(stacks=True))
    assert stream.getvalue() == ""
    lines = (tmp_path / "folded").read_text().splitlines()
    assert lines[0] == "zsmalloc;reset;zs_free;__free_frozen_pages 40"


def test_each_alarm_is_shown_and_its_stack_once(capsys: pytest.CaptureFixture[str]) -> None:
    watching = watch([])
    watching.see(EVENTS)
    watching.see(EVENTS[:1])
    watching.finish()
    told = capsys.readouterr().err.splitlines()
    assert sum("DISALLOWED: zsmalloc" in line for line in told) == 3
    assert [line.strip() for line in told if line.startswith("    ")] == list(STACKS.frames(7))


def test_a_flood_of_alarms_is_shown_ten_times_a_stack_and_then_counted_each_second(
    capsys: pytest.CaptureFixture[str],
) -> None:
    now = 0.0
    watching = Watch(
        EventLines(broken_down(stacks=True).subject), frozenset({0xF6}), [], clock=lambda: now
    )
    other = replace(ZSWAP, stack=8)
    watching.see([Event(1, 0x10, ZSWAP)] * 8)
    watching.see([Event(1, 0x10, who) for who in (ZSWAP, other) for _ in range(500)])
    watching.see([])
    told = capsys.readouterr().err.splitlines()
    alarms = [line.rsplit(None, 1)[1] for line in told if "freed at" in line]
    assert alarms == ["1"] * 10 + ["2"] * 10
    assert not [line for line in told if " more " in line]
    now = 1.0
    watching.see([])
    assert capsys.readouterr().err.splitlines() == [
        "pageinspect: DISALLOWED: 498 more frees of zsmalloc, stack 1",
        "pageinspect: DISALLOWED: 490 more frees of zsmalloc, stack 2",
    ]
    watching.see([Event(1, 0x10, other)])
    assert capsys.readouterr().err == ""
    watching.finish()
    assert capsys.readouterr().err == (
        "pageinspect: DISALLOWED: 1 more free of zsmalloc, stack 2\n"
    )


def test_no_program_runs_for_what_is_allowed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = tmp_path / "ran"
    watching = watch(["touch", str(ran)], frozenset({0xF2}))
    watching.see(EVENTS)
    watching.finish()
    assert not ran.exists()
    assert capsys.readouterr().err == ""


def test_a_closed_pipe_ends_the_report_without_an_error() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as stream, until_reader_leaves(stream):
        stream.write("report")
        stream.flush()


def test_an_alarm_is_recorded_without_output() -> None:
    watching = watch([])
    assert not watching.fired
    watching.fire()
    assert watching.fired
