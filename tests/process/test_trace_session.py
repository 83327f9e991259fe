# SPDX-License-Identifier: GPL-2.0-only
"""A run of the tracer beside a command of its own, over a fake program."""

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
from fake_program import FakeProgram, run
from places import SUPPORT
from waiting import has_ended, until

from pageinspect.errors import PageInspectError
from pageinspect.host.processes import Watcher
from pageinspect.trace import session as module
from pageinspect.trace.records import Interval
from pageinspect.trace.session import Session

if TYPE_CHECKING:
    from pageinspect.trace.program import PageFreeProgram


STUBBORN = "trap '' TERM; while :; do sleep 0.02; done"


pytestmark = pytest.mark.usefixtures("handlers_stay")


def test_a_run_ends_with_its_command(program: FakeProgram) -> None:
    (reading,) = run(program, command=["sh", "-c", "exit 7"])
    assert reading.command_status == 7
    assert reading.end_ns >= module.SETTLE_SECONDS * 1e9
    assert program.calls == ["attach", "detach"]


@pytest.mark.parametrize("sees_watcher", [False, True])
def test_what_watches_over_the_command_may_end_before_counting_does(
    program: FakeProgram, monkeypatch: pytest.MonkeyPatch, *, sees_watcher: bool
) -> None:
    ended = Watcher.cancel

    def cancel(watcher: Watcher) -> None:
        program.calls.append("watcher")
        ended(watcher)

    monkeypatch.setattr(Watcher, "cancel", cancel)
    (reading,) = run(program, command=["sh", "-c", "exit 7"], sees_watcher=sees_watcher)
    assert reading.command_status == 7
    assert (program.calls == ["attach", "watcher", "detach"]) is sees_watcher
    assert sorted(program.calls) == ["attach", "detach", "watcher"]


def test_it_counts_before_the_command_runs(program: FakeProgram) -> None:
    seen: list[bool] = []
    run(program, command=["true"], started=lambda: seen.append(program.attached))
    assert seen == [True]


def test_a_command_that_outlives_it_is_ended(program: FakeProgram) -> None:
    (reading,) = run(program, 0.1, command=["sleep", "600"])
    assert reading.command_status == 128 + signal.SIGTERM
    assert program.calls == ["attach", "detach"]


def test_a_command_that_outlives_it_still_runs_when_the_last_reading_is_looked_at(
    program: FakeProgram,
) -> None:
    session: Session = Session(
        cast("PageFreeProgram", program),
        0.1,
        command=["sleep", "600"],
        at_end=lambda reading: seen.append((reading, _ended(session), program.attached)),
    )
    seen: list[tuple[Interval, bool, bool]] = []
    (reading,) = session.readings()
    ((looked_at, ended, attached),) = seen
    assert (ended, attached) == (False, False)
    assert looked_at.counts is reading.counts
    assert reading.command_status == 128 + signal.SIGTERM


def _ended(session: Session) -> bool:
    assert session._command is not None
    return session._command._process.poll() is not None


def test_a_command_that_ignores_sigterm_is_killed(
    program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GRACE_SECONDS", 0.1)
    # The end of the run waits until the command says that it minds none.
    program.events_fd, ring = os.pipe()
    stubborn = ["sh", "-c", f"trap '' TERM; echo > /dev/fd/{ring}; while :; do sleep 0.02; done"]
    monkeypatch.setattr(subprocess, "Popen", partial(subprocess.Popen, pass_fds=[ring]))
    interrupt = partial(os.kill, os.getpid(), signal.SIGINT)
    (reading,) = run(
        program, command=stubborn, on_events=lambda events: [interrupt() for _ in events]
    )
    assert reading.command_status == 128 + signal.SIGKILL
    os.close(ring)
    os.close(program.events_fd)


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


def interrupted(readings: Generator[Interval, None, None], *numbers: signal.Signals) -> None:
    """Take a reading, and close after these signals, of which one raises."""
    with contextlib.closing(readings):
        next(readings)
        for number in numbers:
            os.kill(os.getpid(), number)


def test_a_second_signal_ends_it_wherever_it_is(program: FakeProgram) -> None:
    session = Session(cast("PageFreeProgram", program), None, 0.01, ["sleep", "600"])
    with pytest.raises(SystemExit) as caught:
        interrupted(session.readings(), signal.SIGINT, signal.SIGTERM)
    assert caught.value.code == 128 + signal.SIGTERM
    assert program.calls == ["attach", "detach"]
    assert session._command is not None
    assert session._command._process.returncode == -signal.SIGTERM


def test_a_command_that_ignores_sigterm_is_not_waited_for_after_two_signals(
    program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_GRACE_SECONDS", 10_000.0)
    monkeypatch.setattr(module, "_SHORT_GRACE_SECONDS", 0.1)
    session = Session(cast("PageFreeProgram", program), None, 1.0, ["sh", "-c", STUBBORN])
    with pytest.raises(SystemExit):
        interrupted(session.readings(), signal.SIGINT, signal.SIGINT)
    assert session._command is not None
    assert session._command._process.returncode in {-signal.SIGTERM, -signal.SIGKILL}


def test_a_third_signal_does_not_spare_the_command(
    program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SHORT_GRACE_SECONDS", 0.1)
    send = module._Command._signal

    def send_while_a_third_comes(command: module._Command, number: int) -> None:
        send(command, number)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(module._Command, "_signal", send_while_a_third_comes)
    session = Session(cast("PageFreeProgram", program), None, 0.01, ["sh", "-c", STUBBORN])
    with pytest.raises(SystemExit):
        interrupted(session.readings(), signal.SIGINT, signal.SIGINT)
    assert session._command is not None
    assert session._command._process.returncode in {-signal.SIGTERM, -signal.SIGKILL}


def test_a_signal_that_ends_the_wait_for_the_command_does_not_spare_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command = module._Command(["sleep", "600"])
    sent: list[int] = []

    def ended(_timeout: float | None = None) -> int:
        raise SystemExit(143)

    with monkeypatch.context() as patched:
        patched.setattr(command._process, "wait", ended)
        patched.setattr(command, "_signal", sent.append)
        with pytest.raises(SystemExit):
            command.end(600)
    assert sent == [signal.SIGTERM, signal.SIGKILL]
    command.end(600)


# The command notes the pid of a child of its own, and lasts.
COMMAND = "sleep 600 & echo $! > {file}.part; mv {file}.part {file}; wait"


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from fake_program import FakeProgram, run
run(FakeProgram(), command=sys.argv[2:])
"""


@pytest.mark.parametrize(
    "before",
    [
        pytest.param((), id="as this user"),
        pytest.param(
            ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"),
            id="as another",
            marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users"),
        ),
    ],
)
def test_the_command_ends_when_the_tracer_is_killed(before: tuple[str, ...]) -> None:
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    noted = folder / "pid"
    command = [*before, "sh", "-c", COMMAND.format(file=noted)]
    try:
        with subprocess.Popen([sys.executable, "-c", PROGRAM, str(SUPPORT), *command]) as process:
            until(noted.exists)
            process.kill()
        child = int(noted.read_text())
        until(lambda: has_ended(child))
    finally:
        shutil.rmtree(folder)


def test_a_filter_of_system_calls_is_named_and_the_command_ended(
    program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def refuse(pid: int) -> int:
        started.append(pid)
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    with pytest.raises(PageInspectError, match=r"pidfd_open\(\): Operation not per") as caught:
        run(program, command=["sleep", "600"])
    assert "seccomp" in caught.value.hint
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)
    assert program.calls == ["attach", "detach"]
