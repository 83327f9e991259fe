# SPDX-License-Identifier: GPL-2.0-only
"""A run of the tracer from start to end, with real signals over a fake program."""

import itertools
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, cast

import pytest
from fake_program import FakeProgram, run

from pageinspect.trace import session as module
from pageinspect.trace.records import Event
from pageinspect.trace.session import Session

if TYPE_CHECKING:
    from pageinspect.trace.program import PageFreeProgram


pytestmark = pytest.mark.usefixtures("handlers_stay")


def test_a_run_ends_after_its_duration(program: FakeProgram) -> None:
    (reading,) = run(program, 0.1)
    assert reading.command_status is None
    assert reading.start_ns == 0
    assert reading.end_ns >= 0.1e9
    assert program.calls == ["attach", "detach"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run(program: FakeProgram, number: signal.Signals) -> None:
    timer = threading.Timer(0.1, os.kill, (os.getpid(), number))
    assert len(run(program, started=timer.start)) == 1
    assert program.calls == ["attach", "detach"]


def test_intervals_give_what_each_added(program: FakeProgram) -> None:
    session = Session(cast("PageFreeProgram", program), None, 0.01)
    readings = []
    for reading in session.readings():
        readings.append(reading)
        if len(readings) == 3:
            os.kill(os.getpid(), signal.SIGINT)
    assert [int(reading.counts.untyped[0]) for reading in readings] == [1, 1, 1, 1]
    assert [reading.counts.lost.unread for reading in readings] == [1, 1, 1, 1]
    assert readings[0].start_ns == 0
    for earlier, later in itertools.pairwise(readings):
        assert later.start_ns == earlier.end_ns


def test_a_reading_that_is_carried_over_is_in_the_next(program: FakeProgram) -> None:
    session = Session(cast("PageFreeProgram", program), None, 0.01)
    readings = session.readings()
    found = []
    for reading in itertools.islice(readings, 4):
        found.append((int(reading.counts.untyped[0]), reading.start_ns, reading.end_ns))
        if len(found) in (2, 3):
            session.carry_over()
    readings.close()
    assert [frees for frees, *_ in found] == [1, 1, 2, 3]
    assert {start_ns for _, start_ns, _ in found[1:]} == {found[0][2]}


def test_a_reading_has_the_time_of_its_end_on_the_clock_of_the_kernel(
    program: FakeProgram,
) -> None:
    before = time.monotonic_ns()
    (reading,) = run(program, 0.01)
    assert before + reading.end_ns <= reading.clock_ns <= time.monotonic_ns()


def test_intervals_that_nobody_read_are_left_out(program: FakeProgram) -> None:
    session = Session(cast("PageFreeProgram", program), None, 0.1)
    readings = session.readings()
    first = next(readings)
    time.sleep(0.5)
    # One reading for all of them, and the next is not due before its own time.
    late, next_one = next(readings), next(readings)
    readings.close()
    assert late.start_ns == first.end_ns
    assert late.end_ns >= first.end_ns + 0.5e9
    assert next_one.end_ns // 10**8 > late.end_ns // 10**8


def test_events_are_passed_on_as_they_come_and_the_last_ones_too(program: FakeProgram) -> None:
    program.events_fd, ring = os.pipe()
    seen: list[tuple[int, bool]] = []

    def see(events: list[Event]) -> None:
        seen.extend((event.pfn, program.attached) for event in events)
        if len(seen) == 2:
            # As if freed between the last look and the detachment.
            threading.Timer(0.15, os.write, (ring, b"\x07")).start()

    threading.Timer(0.05, os.write, (ring, b"\x05\x06")).start()
    (reading,) = run(program, 2.0, on_events=see)
    assert seen == [(5, True), (6, True), (7, True)]
    assert reading.end_ns >= 2e9
    os.write(ring, b"\x08")
    run(program, 0.01, on_events=see)
    assert seen[3:] == [(8, True)]
    os.close(ring)
    os.close(program.events_fd)


def test_events_that_never_end_do_not_outlast_the_run(program: FakeProgram) -> None:
    program.events_fd = os.open("/dev/zero", os.O_RDONLY)
    started = time.monotonic()
    run(program, 0.2, on_events=lambda _events: None)
    assert time.monotonic() - started < 5
    os.close(program.events_fd)


def test_events_up_to_the_detachment_are_reported(program: FakeProgram) -> None:
    program.events_fd, ring = os.pipe()
    detach = program.detach

    def free_one_more() -> None:
        if program.attached:
            os.write(ring, b"\x09")
        detach()

    program.detach = free_one_more  # type: ignore[method-assign]
    seen: list[int] = []
    run(program, 0.05, on_events=lambda events: seen.extend(event.pfn for event in events))
    assert seen == [9]
    os.close(ring)
    os.close(program.events_fd)


def test_the_watcher_is_called_each_second_without_events(
    program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_POLL_SECONDS", 0.01)
    program.events_fd, ring = os.pipe()
    asked: list[int] = []
    run(program, 0.2, on_events=lambda events: asked.append(len(events)))
    assert len(asked) > 3
    assert set(asked) == {0}
    os.close(ring)
    os.close(program.events_fd)
