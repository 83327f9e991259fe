"""A run of the tracer from start to end, with real commands and signals over a fake program."""

import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import cast

import numpy as np
import pytest

from pageinspect.errors import PageInspectError
from pageinspect.trace import session as module
from pageinspect.trace.program import NOTHING, Counts, PageFreeProgram
from pageinspect.trace.session import Reading, Session


class FakeProgram:
    """One more untyped free at each reading while attached."""

    def __init__(self) -> None:
        self.attached = False
        self.calls: list[str] = []
        self._frees = 0

    def attach(self) -> None:
        self.attached = True
        self.calls.append("attach")

    def detach(self) -> None:
        if self.attached:
            self.calls.append("detach")
        self.attached = False

    def read(self) -> Counts:
        self._frees += 1
        untyped = np.full(16, self._frees, np.uint64)
        return Counts(NOTHING.typed, untyped, self._frees, 0)


@pytest.fixture
def program() -> FakeProgram:
    return FakeProgram()


@pytest.fixture(autouse=True)
def _handlers_stay() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    assert [signal.getsignal(number) for number in numbers] == before


def run(program: FakeProgram, *args: object, **kwargs: object) -> list[Reading]:
    session = Session(cast("PageFreeProgram", program), *args, **kwargs)  # type: ignore[arg-type]
    return list(session.readings())


def test_seconds_end_it(program: FakeProgram) -> None:
    (reading,) = run(program, 0.1)
    assert reading.last
    assert reading.command_status is None
    assert 0.1e9 <= reading.end_ns < 1e9
    assert program.calls == ["attach", "detach"]


def test_the_end_of_the_command_ends_it(program: FakeProgram) -> None:
    (reading,) = run(program, command=["sh", "-c", "exit 7"])
    assert reading.command_status == 7
    assert reading.end_ns >= module.SETTLE_SECONDS * 1e9
    assert program.calls == ["attach", "detach"]


def test_it_counts_before_the_command_runs(program: FakeProgram) -> None:
    seen: list[bool] = []
    run(program, command=["true"], started=lambda: seen.append(program.attached))
    assert seen == [True]


def test_a_command_that_outlives_it_is_ended(program: FakeProgram) -> None:
    (reading,) = run(program, 0.1, command=["sleep", "600"])
    assert reading.command_status == 128 + signal.SIGTERM
    assert reading.end_ns < 1e9


def test_a_command_that_minds_no_sigterm_is_killed(
    program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GRACE_SECONDS", 0.1)
    stubborn = ["sh", "-c", "trap '' TERM; while :; do sleep 0.02; done"]
    (reading,) = run(program, 0.3, command=stubborn)
    assert reading.command_status == 128 + signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it(program: FakeProgram, number: signal.Signals) -> None:
    timer = threading.Timer(0.1, os.kill, (os.getpid(), number))
    (reading,) = run(program, started=timer.start)
    assert reading.last
    assert program.calls == ["attach", "detach"]


def test_intervals_give_what_each_added(program: FakeProgram) -> None:
    readings = run(program, 0.35, 0.1)
    assert [reading.last for reading in readings] == [False, False, False, True]
    assert [int(reading.counts.untyped[0]) for reading in readings] == [1, 1, 1, 1]
    assert [reading.counts.unread for reading in readings] == [1, 1, 1, 1]
    assert readings[0].start_ns == 0
    for earlier, later in itertools.pairwise(readings):
        assert later.start_ns == earlier.end_ns


def test_intervals_that_nobody_read_are_left_out(program: FakeProgram) -> None:
    session = Session(cast("PageFreeProgram", program), 1.0, 0.1)
    readings = session.readings()
    next(readings)
    time.sleep(0.5)
    rest = list(readings)
    assert len(rest) < 7
    assert rest[-1].last


def test_a_reader_that_leaves_ends_program_and_command(program: FakeProgram) -> None:
    session = Session(cast("PageFreeProgram", program), None, 0.05, ["sleep", "600"])
    readings = session.readings()
    next(readings)
    readings.close()
    assert not program.attached
    assert session._command is not None
    assert session._command._process.returncode == -signal.SIGTERM


def test_a_command_that_cannot_start_leaves_nothing_attached(
    program: FakeProgram, tmp_path: object
) -> None:
    with pytest.raises(PageInspectError) as caught:
        run(program, command=["/dev/null"])
    assert "cannot be started" in caught.value.message
    assert program.calls == ["attach", "detach"]
