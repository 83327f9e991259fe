# SPDX-License-Identifier: GPL-2.0-only
"""Programs that end with the process that started them, and what a watcher process does."""

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest
from waiting import has_ended, until

from pageinspect.host.processes import (
    ENDING,
    cleanup_even_if_killed,
    command_ending_with_parent,
    fork,
)
from pageinspect.vm.guest import _remove_qmp_socket

STARTER = """
import subprocess, sys
from pageinspect.host.processes import command_ending_with_parent

note = f"echo $$ > {sys.argv[1]}.part; mv {sys.argv[1]}.part {sys.argv[1]}; exec sleep 600"
subprocess.run(command_ending_with_parent(["sh", "-c", note], sys.argv[2]))
"""


@pytest.mark.parametrize("name", ["KILL", "TERM"])
def test_a_program_ends_when_its_starter_is_killed(tmp_path: Path, name: str) -> None:
    noted = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", STARTER, str(noted), name]) as process:
        until(noted.exists)
        process.kill()
    pid = int(noted.read_text())
    until(lambda: has_ended(pid))


def test_a_program_whose_starter_ended_before_does_not_start(tmp_path: Path) -> None:
    # Its parent is a shell by then, as it would be init.
    command = command_ending_with_parent(["touch", str(tmp_path / "started")])
    done = subprocess.run(["sh", "-c", '"$@"; exit $?', "-", *command], check=False)
    assert done.returncode == 1
    assert not (tmp_path / "started").exists()
    assert subprocess.run(command, check=False).returncode == 0
    assert (tmp_path / "started").exists()


def test_what_is_done_at_the_end_is_done_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()

    def note(word: str) -> None:
        with log.open("a") as file:
            file.write(word)

    with cleanup_even_if_killed(lambda: note("own "), orphaned=lambda: note("watcher ")):
        pass
    assert log.read_text() == "own "

    def fail() -> None:
        raise OSError

    with pytest.raises(OSError), cleanup_even_if_killed(fail, orphaned=lambda: note("watcher ")):  # noqa: PT011
        pass
    assert log.read_text() == "own watcher "


def test_a_socket_is_removed_once_nobody_listens(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    _remove_qmp_socket(path)
    assert path.exists()
    # As a QEMU that is about to end.
    threading.Timer(0.2, listener.close).start()
    _remove_qmp_socket(path, 20)
    assert not path.exists()
    started = time.monotonic()
    _remove_qmp_socket(path, 20)
    assert time.monotonic() - started < 10


GROUP = """
import os, signal, sys
from pathlib import Path
from pageinspect.host.processes import Watcher

Watcher(Path(sys.argv[1]).touch, [])
os.killpg(0, signal.SIGKILL)
"""


@pytest.mark.parametrize("_", range(5))
def test_a_watcher_outlives_its_process_group_from_the_start(tmp_path: Path, _: int) -> None:
    done = tmp_path / "done"
    command = [sys.executable, "-c", GROUP, str(done)]
    subprocess.run(command, check=False, start_new_session=True)
    until(done.exists)


def test_a_handler_that_raises_before_a_fork_leaves_no_signal_blocked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mask = signal.pthread_sigmask

    def interrupted(how: int, numbers: Iterable[int]) -> object:
        before = mask(how, numbers)
        # It runs handlers of signals that came just before when it has changed the mask.
        if how == signal.SIG_BLOCK and {*numbers}:
            raise KeyboardInterrupt
        return before

    monkeypatch.setattr(signal, "pthread_sigmask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fork()
    left = mask(signal.SIG_UNBLOCK, ENDING)
    assert left.isdisjoint(ENDING)


SIGNALLED = """
import os, signal, sys
from pageinspect.cli.isolation import run_isolated
from pageinspect.cli.reader_process import reader_process

def read():
    with reader_process(lambda _: None, None):
        pass

def end(number, frame):
    print("the parent's clean-up", flush=True)
    sys.exit(1)

signal.signal(signal.SIGTERM, end)
os.register_at_fork(after_in_child=lambda: os.kill(os.getpid(), signal.SIGTERM))
"""


@pytest.mark.parametrize(
    ("forks", "status"), [("run_isolated(lambda: 0, None)", 128 + signal.SIGTERM), ("read()", 0)]
)
def test_no_child_does_what_its_parent_does_at_a_signal(forks: str, status: int) -> None:
    command = [sys.executable, "-c", SIGNALLED + forks]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", status)
