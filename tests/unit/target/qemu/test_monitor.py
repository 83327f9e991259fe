"""A monitor may be anyone's: what root reads for it, and how long it is waited for."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import elf_builder
import pytest
import qmp_server
from drgn import Architecture, FaultError, Platform, Program
from waiting import children, has_ended, until

from pageinspect.cli.main import main
from pageinspect.errors import PageInspectError
from pageinspect.target.qemu import monitor as module
from pageinspect.target.qemu import process
from pageinspect.target.qemu.memory import BLOCK, MonitorMemory, read_vmcoreinfo
from pageinspect.target.qemu.monitor import Monitor, monitor_at
from pageinspect.target.qemu.process import DeniedError, add_memory, open_memory

NOBODY = 65534
GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'

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
def folder() -> Iterator[Path]:
    """A folder in which the other user may make a socket."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


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
        barred = add_memory(prog, connected, ends)
        return barred, b"" if barred else prog.read(qmp_server.RAM_AT, 8, physical=True)


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
    assert outcome(me, other) == "the socket was made by another user than the one that answers"
    assert outcome(me, me._replace(pid=1)) == "QEMU belongs to another user"
    assert outcome(me._replace(pid=0), me) == "QEMU is in another PID namespace"


def outcome(answering: module.Peer, listening: module.Peer) -> str:
    with pytest.raises(DeniedError) as error:
        os.close(open_memory(answering, listening))
    return str(error.value)


@contextlib.contextmanager
def speaking(path: Path, talk: Callable[[socket.socket], object]) -> Iterator[Path]:
    """Have a server greet, and then say what `talk` does to the one who connects."""

    def serve() -> None:
        connection, _ = listener.accept()
        # Who is spoken to may leave.
        with connection, contextlib.suppress(OSError):
            talk(connection)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield path
        thread.join()


def drip(what: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        while True:
            connection.sendall(what)
            time.sleep(0.02)

    return talk


def pour(start: bytes, more: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(more)

    return talk


def say(what: bytes) -> Callable[[socket.socket], object]:
    def talk(connection: socket.socket) -> None:
        connection.sendall(what)
        # Until the other one leaves.
        while connection.recv(4096):
            pass

    return talk


# On a slow machine time is over first.
ENDLESS = "it said more than 1 MiB|it took too long"
TALKS = {
    "an event now and then": (drip(b'{"event": "RESUME"}\n'), "it took too long"),
    "a blank now and then": (drip(b"\n"), "it took too long"),
    "half a line": (drip(b" "), "it took too long"),
    "answers to others": (drip(b'{"return": {}, "id": "other"}\n'), "it took too long"),
    "nothing": (say(GREETING), "it took too long"),
    "half an answer": (say(GREETING + b'{"return": '), "it took too long"),
    "events without end": (pour(GREETING, b'{"event": "RESUME"}\n' * 1000), ENDLESS),
    "blanks without end": (pour(GREETING, b"\n" * 65536), ENDLESS),
    "one line without end": (pour(GREETING, b"x" * 65536), ENDLESS),
    "deeply nested": (pour(GREETING, b"[" * 60000 + b"\n"), ENDLESS),
    "garbage": (pour(GREETING, bytes(range(256)) * 100), ENDLESS),
    "an end": (
        lambda connection: connection.sendall(GREETING),
        "was closed|Broken pipe|reset by peer",
    ),
    "a greeting without end": (pour(b"{", b'"' * 65536), f"{ENDLESS}|does not speak QMP"),
    "half a greeting": (say(GREETING[:10]), "does not speak QMP"),
    "no greeting": (say(b""), "is busy: no greeting within"),
}


@pytest.mark.parametrize("talk", TALKS)
def test_who_does_not_answer_is_given_up(
    talk: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GREETING_S", 0.3)
    monkeypatch.setattr(module, "ANSWER_S", 0.3)
    monkeypatch.setattr(module, "LARGEST", 1 << 20)
    server, reason = TALKS[talk]
    with speaking(folder / "socket", server) as path:
        with pytest.raises(PageInspectError, match=reason) as error, monitor_at(path):
            pass
        assert error.value.hint


def test_who_failed_once_is_asked_no_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.3)
    heard: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        name = json.loads(connection.recv(4096))["id"]
        connection.sendall(json.dumps({"return": {}, "id": name}).encode() + b"\n")
        while heard.append(connection.recv(4096)) or heard[-1]:
            pass

    with speaking(folder / "socket", talk) as path, monitor_at(path) as connected:
        for command in ("stop", "cont"):
            with pytest.raises(PageInspectError, match="did not answer stop"):
                connected.execute(command)
    assert [json.loads(said)["execute"] for said in heard[:-1]] == ["stop"]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b'"return": []', "does not answer query-status as QEMU does"),
        (b'"return": {"running": 1}', "does not answer query-status as QEMU does"),
        (b'"error": {"desc": ["x"]}', "QEMU refuses query-status: it does not say why"),
        (b'"error": "x"', "QEMU refuses query-status: it does not say why"),
        (b'"error": {"desc": "%s"}' % (b"x" * 5000), "QEMU refuses query-status: x{200}$"),
    ],
)
def test_an_answer_that_is_none(folder: Path, answer: bytes, message: str) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        for said in (b'"return": {}', answer):
            name = json.loads(connection.recv(4096))["id"].encode()
            connection.sendall(b'{"id": "%s", %s}\n' % (name, said))

    with speaking(folder / "socket", talk) as path, monitor_at(path) as connected:
        with pytest.raises(PageInspectError) as error:
            connected.is_running()
        assert re.search(message, error.value.message)


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


class Dumper:
    """A monitor that gives one core for whatever part of memory."""

    def __init__(self, core: bytes) -> None:
        self.core, self.file = core, -1

    def execute(self, command: str, _: object, *, descriptor: int | None = None) -> None:
        if descriptor is not None:
            self.file = descriptor
        if command == "dump-guest-memory":
            os.pwrite(self.file, self.core, 0)


def core(*segments: tuple[int, int, int, int]) -> bytes:
    """Return an ELF core with segments (type, physical address, offset, length)."""
    parts = ((kind, offset, physical, length) for kind, physical, offset, length in segments)
    return elf_builder.elf(*(elf_builder.segment(*part) for part in parts))


def reader(made: bytes) -> MonitorMemory:
    return MonitorMemory(cast("Monitor", Dumper(made)), lasting=True)


def test_a_block_is_read_by_its_pieces() -> None:
    made = core((4, 0, 0, 0), (1, 0, 500, 4), (1, 0x100000, 600, 4)).ljust(500, b"\0")
    memory = reader(made + b"ABCD".ljust(100) + b"EFGH")
    assert memory.read(0, 4, 0, True) == b"ABCD"
    assert memory.read(0x100001, 3, 0, True) == b"FGH"
    with pytest.raises(FaultError):
        memory.read(0x1000, 1, 0, True)


def test_a_core_says_no_more_than_was_asked_for() -> None:
    made = core(*[(1, BLOCK * i, 0, BLOCK) for i in range(65535)]).ljust(4 << 20, b"A")
    memory = reader(made)
    assert len(memory.read(0, BLOCK, 0, True)) == BLOCK
    ((_, pieces),) = memory._blocks.values()
    assert sum(len(data) for _, data in pieces) == BLOCK


@pytest.mark.parametrize("made", [b"", b"ELF", b"\xff" * 500, core((1, 0, 1 << 63, 4))[:100]])
def test_a_core_that_is_none(made: bytes) -> None:
    with pytest.raises(PageInspectError, match="does not answer dump-guest-memory as QEMU does"):
        reader(made).read(0, 4, 0, True)


class SlowMonitor:
    """A monitor that names many regions of RAM, and takes its time to say where each one is."""

    def human(self, line: str) -> str:
        if line == "info mtree -f":
            rows = (
                f"  {i:016x}-{i + 0xFFF:016x} (prio 0, ram): r\n" for i in range(0, 1 << 21, 4096)
            )
            return 'FlatView #0\n AS "memory", root: s\n Root memory region: s\n' + "".join(rows)
        time.sleep(0.05)
        return "Host virtual address for 0 (r) is 0x1000"


def test_all_questions_together_have_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "ASKING_S", 0.3)
    with pytest.raises(DeniedError, match="took more than"):
        process._segments(cast("Monitor", SlowMonitor()), -1)


def test_vmcoreinfo_is_the_note_of_that_name() -> None:
    assert read_vmcoreinfo(cast("Monitor", Dumper(qmp_server.core()))) == qmp_server.VMCOREINFO
    assert read_vmcoreinfo(cast("Monitor", Dumper(core((4, 0, 0, 1 << 40))))) == ""
