# SPDX-License-Identifier: GPL-2.0-only
"""A monitor of another user: what root reads for it; and signals that end the wait for one."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import qmp_server
from drgn import Architecture, Platform, Program
from talks import TALKS, speaking
from waiting import children, has_ended, until

from pageinspect.cli.main import main
from pageinspect.target.qemu import monitor as module
from pageinspect.target.qemu.monitor import monitor_at
from pageinspect.target.qemu.process import DeniedError, add_memory, open_memory

NOBODY = 65534


as_two_users = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


OTHER_USER = {"user": NOBODY, "group": NOBODY, "extra_groups": ()} if os.geteuid() == 0 else {}


@pytest.fixture(scope="module")
def python() -> str:
    """A Python that the other user may run: root's own may be in a folder that is not for him."""
    for program in (str(Path(sys.executable).resolve()), "/usr/bin/python3"):
        with contextlib.suppress(OSError):
            if subprocess.run([program, "-c", ""], check=False, **OTHER_USER).returncode == 0:
                return program
    pytest.skip("the other user may run no Python")


@pytest.fixture
def sleeper(folder: Path) -> Path:
    """A set-user-ID program of root, which the other user may execute but not read in memory."""
    if os.statvfs(folder).f_flag & os.ST_NOSUID:
        pytest.skip(f"{folder} is on a file system without set-user-ID programs")
    program = folder / "sleeper"
    shutil.copy(shutil.which("sleep") or "", program)
    program.chmod(0o4755)
    return program


@contextlib.contextmanager
def served(python: str, folder: Path, change: str = "", program: Path | str = "") -> Iterator[int]:
    """Serve as the other user, as qmp_server.py has it; give the pid."""
    script = Path(qmp_server.__file__).read_text(encoding="utf-8")
    (folder / "core").write_bytes(qmp_server.core())
    command = [python, "-c", script, str(folder / "socket"), str(folder), change, str(program)]
    with subprocess.Popen(command, start_new_session=True, **OTHER_USER) as process:
        try:
            until((folder / "ready").exists)
            yield process.pid
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def mapped(pid: int, program: Path) -> int:
    """Return where the ELF header of a program is in the memory of a process; 0 when not at all."""
    maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
    return next(
        (int(line.split("-")[0], 16) for line in maps.splitlines() if str(program) in line), 0
    )


def asked(folder: Path) -> list[str]:
    return (folder / "log").read_text(encoding="utf-8").splitlines()


@as_two_users
@pytest.mark.parametrize(
    "change", ["greeting", "query-target", "dump-guest-memory", "info mtree -f"]
)
def test_root_reads_no_other_program_for_a_server(
    python: str, folder: Path, sleeper: Path, change: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with served(python, folder, change, sleeper) as pid:

        def say_where() -> None:
            until(lambda: mapped(pid, sleeper))
            (folder / "unfinished").write_text(str(mapped(pid, sleeper)))
            (folder / "unfinished").rename(folder / "address")

        teller = threading.Thread(target=say_where)
        teller.start()
        status = main(["types", "--qemu", str(folder / "socket")])
        teller.join()
    assert status != 0
    assert "Traceback" not in capfd.readouterr().err
    # Taken for a page table entry, \x7fELF\2\1\1 leads there; who follows it says so.
    leads_to = 0x10102464C4000 >> 12
    said = [value for line in asked(folder) for value in numbers(line)]
    assert [value for value in said if value >> 12 == leads_to] == []


def numbers(line: str) -> list[int]:
    """Return the addresses in a command."""
    arguments = json.loads(line).get("arguments", {})
    words = str(arguments.get("command-line", "")).split()
    return [arguments.get("begin", 0), *(int(word, 16) for word in words if word.startswith("0x"))]


def attached(folder: Path) -> tuple[str, bytes]:
    """Return why a server's memory is not read, and the first bytes of its guest's RAM."""
    prog = Program(Platform(Architecture.X86_64))
    with contextlib.ExitStack() as ends:
        connected = ends.enter_context(monitor_at(folder / "socket"))
        denied, _ = add_memory(prog, connected, ends)
        return denied, b"" if denied else prog.read(qmp_server.RAM_AT, 8, physical=True)


def test_a_server_of_another_user_is_read_in_its_memory(python: str, folder: Path) -> None:
    with served(python, folder):
        assert attached(folder) == ("", b"Q" * 8)


@as_two_users
def test_it_is_opened_as_its_user_would(sleeper: Path) -> None:
    with subprocess.Popen([sleeper, "600"], **OTHER_USER) as process:
        until(lambda: mapped(process.pid, sleeper))
        peer = module.Peer(process.pid, NOBODY, NOBODY)
        opened = outcome(peer, peer)
        process.kill()
    assert opened == f"/proc/{process.pid}/mem: Permission denied"


@as_two_users
def test_what_is_opened_stays_the_same_memory(python: str, sleeper: Path) -> None:
    waiting = [python, "-c", f"import os; input(); os.execv({str(sleeper)!r}, ['sleep', '600'])"]
    with subprocess.Popen(waiting, stdin=subprocess.PIPE, **OTHER_USER) as process:
        until(lambda: mapped(process.pid, Path(python).resolve()))
        peer = module.Peer(process.pid, NOBODY, NOBODY)
        memory = open_memory(peer, peer)
        address = mapped(process.pid, Path(python).resolve())
        assert os.pread(memory, 4, address) == b"\x7fELF"
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        until(lambda: mapped(process.pid, sleeper))
        assert os.pread(memory, 4, address) == b""
        assert os.pread(memory, 4, mapped(process.pid, sleeper)) == b""
        os.close(memory)
        process.kill()


@as_two_users
def test_who_answers_must_be_who_listens() -> None:
    me = module.Peer(os.getpid(), 0, 0)
    other = module.Peer(os.getpid(), NOBODY, NOBODY)
    assert outcome(me, other) == "the socket was created by another user than the one that answers"
    assert outcome(me, me._replace(pid=1)) == "QEMU belongs to another user"
    assert outcome(me._replace(pid=0), me) == "QEMU is in another PID namespace"


def outcome(answering: module.Peer, listening: module.Peer) -> str:
    with pytest.raises(DeniedError) as error:
        os.close(open_memory(answering, listening))
    return str(error.value)


@pytest.mark.parametrize(
    ("number", "talk"),
    [
        (signal.SIGTERM, "nothing"),
        (signal.SIGTERM, "an event now and then"),
        (signal.SIGINT, "an event now and then"),
        (signal.SIGHUP, "nothing"),
        (signal.SIGKILL, "nothing"),
        (signal.SIGKILL, "an event now and then"),
    ],
)
def test_a_signal_ends_the_wait_for_a_server(
    folder: Path, number: signal.Signals, talk: str
) -> None:
    connected = threading.Event()

    def talking(connection: socket.socket) -> None:
        connected.set()
        TALKS[talk][0](connection)

    with speaking(folder / "socket", talking) as path:
        command = [sys.executable, "-m", "pageinspect", "types", "--qemu", str(path)]
        with subprocess.Popen(command) as process:
            assert connected.wait(20)
            # Until it has said something, and waits for the answer.
            time.sleep(0.5)
            left = children(process.pid)
            process.send_signal(number)
            assert process.wait(20) == -number
        until(lambda: all(map(has_ended, left)))
