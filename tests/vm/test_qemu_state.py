# SPDX-License-Identifier: GPL-2.0-only
"""A guest looked at from outside is left as it was; a socket that does not serve says so."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pageinspect.cli.isolation import run_isolated
from pageinspect.cli.main import main
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

LISTENING = "00010000"
"""A flag of a socket in /proc/net/unix."""
EVERY_PAGE = ("list", "--each", "--pause", "--format", "json")
"""Writes far more than a pipe holds, and so waits, with the guest paused, until that is read."""


@pytest.fixture(scope="module")
def guest(
    ready: Callable[[str], BuiltKernel], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Guest]:
    path = tmp_path_factory.mktemp("qmp") / "socket"
    with Guest(ready("newest"), memory="256M", qmp_socket=path) as running:
        running.socket = path
        yield running
    assert not path.exists()


def is_running(guest: Guest) -> bool:
    return bool(guest.qmp("query-status")["running"])


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def command_line(*args: object) -> list[str]:
    return [sys.executable, "-m", "pageinspect", *map(str, args)]


@contextmanager
def reading(guest: Guest) -> Iterator[subprocess.Popen[bytes]]:
    """Have every page listed, as far as the first bytes of it; nobody reads on."""
    with subprocess.Popen(
        command_line(*EVERY_PAGE, "--qemu", guest.socket),
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.read(10)
        yield process
        process.stdout.close()


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


ENDS: dict[str, Callable[[int], None]] = {
    "ctrl-c": lambda pid: os.killpg(pid, signal.SIGINT),
    "terminated": lambda pid: os.kill(pid, signal.SIGTERM),
    "killed": lambda pid: os.kill(pid, signal.SIGKILL),
    "its child killed": lambda pid: os.kill(child_of(pid), signal.SIGKILL),
    "both killed": lambda pid: os.killpg(pid, signal.SIGKILL),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_guest_that_ran_runs_again(guest: Guest, end: str) -> None:
    with reading(guest) as process:
        assert not is_running(guest)
        ENDS[end](process.pid)
        process.wait(60)
    until(lambda: is_running(guest))
    guest.run(["true"])


def test_a_reader_that_leaves_lets_it_run_on(guest: Guest) -> None:
    with reading(guest):
        assert not is_running(guest)
    assert is_running(guest)


@pytest.mark.parametrize("end", ["", "terminated", "both killed"])
def test_a_guest_that_was_paused_stays_so(guest: Guest, end: str) -> None:
    guest.pause()
    try:
        with reading(guest) as process:
            if end:
                ENDS[end](process.pid)
                process.wait(60)
        time.sleep(0.5)
        assert not is_running(guest)
    finally:
        guest.resume()


def test_the_state_is_right_at_once_when_the_command_has_ended(guest: Guest) -> None:
    done = subprocess.run(
        command_line("types", "--pause", "--qemu", guest.socket), capture_output=True, check=False
    )
    assert is_running(guest)
    assert done.returncode == 0
    assert b"a paused QEMU guest" in done.stdout


def listens(path: Path) -> bool:
    """Return whether a process listens at a socket, which is there a moment before."""
    sockets = map(str.split, Path("/proc/net/unix").read_text().splitlines())
    return any(words[3] == LISTENING and words[7:] == [str(path)] for words in sockets)


def refused(path: Path) -> tuple[str, str]:
    command = command_line("types", "--pause", "--qemu", path)
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    message, hint = done.stderr.splitlines()
    assert message.startswith("pageinspect: error: ")
    assert hint.startswith("  hint: ")
    return message, hint


def test_a_busy_socket_says_so(guest: Guest) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.connect(str(guest.socket))
        assert other.recv(1)
        message, hint = refused(guest.socket)
    assert "is busy" in message
    assert "one client at a time" in hint
    assert is_running(guest)


def test_what_is_no_monitor(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    assert "no such socket" in refused(path)[0]
    assert "is not a socket" in refused(tmp_path)[0]
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        assert "no process listens" in refused(path)[0]
        server.listen()
        with subprocess.Popen(
            command_line("types", "--qemu", path), stderr=subprocess.PIPE, text=True
        ) as process:
            connection, _ = server.accept()
            connection.sendall(b"QEMU 7.2.22 monitor - type 'help' for more information\r\n")
            _, said = process.communicate(timeout=60)
            connection.close()
    assert "does not speak QMP" in said
    assert process.returncode == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_socket_of_someone_else(guest: Guest, capfd: pytest.CaptureFixture) -> None:
    def as_nobody() -> int:
        # Nobody may not read where it is installed.
        from pageinspect.target.qemu import open  # noqa: A004, F401

        os.setuid(65534)
        return main(["types", "--qemu", str(guest.socket)])

    assert run_isolated(as_nobody, guest.socket) == 1
    message, hint = capfd.readouterr().err.splitlines()
    assert "permission denied" in message
    assert "as the user that QEMU runs as" in hint


def test_a_guest_that_has_not_booted(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    arguments = ["-S", "-nodefaults", "-display", "none", "-m", "64M", "-device", "vmcoreinfo"]
    monitor = f"unix:{path},server=on,wait=off"
    with subprocess.Popen(["qemu-system-x86_64", *arguments, "-qmp", monitor]) as process:
        try:
            until(lambda: listens(path))
            message, hint = refused(path)
        finally:
            process.kill()
    assert "gives no VMCOREINFO" in message
    assert "qemu_fw_cfg" in hint
