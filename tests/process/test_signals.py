# SPDX-License-Identifier: GPL-2.0-only
"""What signals leave behind: no part of a file, no process, no paused guest."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
import qmp_server
from waiting import children, has_ended, until

ENDING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
ALL = [*ENDING, signal.SIGKILL]

# The command itself, with another way to make its report.
COMMAND = """
import os, sys, time
from pathlib import Path
from pageinspect.cli.commands import types
from pageinspect.cli.main import entry
from pageinspect.cli.output import open_output
from pageinspect.cli.parallel import in_order
from pageinspect.host import files

def ready():
    print("ready", flush=True)
    time.sleep(600)

types.run = lambda args: task(args)
sys.argv[0] = "pageinspect"
"""
NAMED = "files._UNNAMED = os.O_RDWR | os.O_DIRECTORY\n"
"""As on a file system that has no files without a name."""
WRITE = """
def task(args):
    with open_output(args.output) as stream:
        stream.write("half a report")
        stream.flush()
        ready()
entry()
"""
KEEP = """
def task(args):
    os.fsync = lambda _: ready()
    files.write_trusted(args.core.parent / "cache/kept", "half")
entry()
"""


@contextlib.contextmanager
def begun(program: str, *args: object) -> Iterator["subprocess.Popen[str]"]:
    """Run a program up to the line "ready"; what is left of its processes is killed."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    own = children(pid)
    return own + [below for child in own for below in descendants(child)]


@pytest.fixture
def core(tmp_path: Path) -> Path:
    path = tmp_path / "core"
    path.touch()
    return path


@pytest.mark.parametrize("number", ALL, ids=lambda n: n.name)
@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("apart", [False, True])
def test_no_part_of_a_report_is_left(
    core: Path, number: signal.Signals, named: bool, apart: bool
) -> None:
    out = core.with_name("out")
    out.mkdir()
    (out / "report").write_text("as it was")
    source = ("-c", core) if apart else ()
    program = COMMAND + (NAMED if named else "") + WRITE
    with begun(program, "types", *source, "-o", out / "report") as process:
        assert (len(list(out.iterdir())) == 2) == named
        below = descendants(process.pid)
        assert len(below) == apart + named
        process.send_signal(number)
        out_text, said = process.communicate(timeout=20)
        assert (process.returncode, out_text, said) == (-number, "", "")
        until(lambda: all(map(has_ended, below)))
    assert [path.name for path in out.iterdir()] == ["report"]
    assert (out / "report").read_text() == "as it was"


@pytest.mark.parametrize("named", [False, True])
def test_a_child_that_is_killed_leaves_no_part_either(core: Path, named: bool) -> None:
    out = core.with_name("out")
    out.mkdir()
    program = COMMAND + (NAMED if named else "") + WRITE
    with begun(program, "types", "-c", core, "-o", out / "report") as process:
        os.kill(children(process.pid)[0], signal.SIGKILL)
        _, said = process.communicate(timeout=20)
        assert process.returncode == 1
        assert "was killed" in said
    until(lambda: not list(out.iterdir()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
@pytest.mark.parametrize("named", [False, True])
def test_no_part_is_left_in_the_cache(core: Path, number: signal.Signals, named: bool) -> None:
    cache = core.with_name("cache")
    cache.mkdir()
    with begun(COMMAND + (NAMED if named else "") + KEEP, "types", "-c", core) as process:
        below = descendants(process.pid)
        process.send_signal(number)
        assert process.wait(20) == -number
        until(lambda: all(map(has_ended, below)))
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("number", ENDING, ids=lambda n: n.name)
def test_a_shell_sees_128_and_the_number(core: Path, number: signal.Signals) -> None:
    program = f"{COMMAND}\ndef task(_):\n os.kill(os.getppid(), {int(number)})\n time.sleep(600)\n"
    command = [sys.executable, "-c", f"{program}entry()", "types", "-c", str(core)]
    done = subprocess.run(
        ["sh", "-c", '"$@"; echo $?', "-", *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    assert done.stdout == f"{128 + number}\n"
    assert "Traceback" not in done.stderr


def test_a_hangup_that_is_ignored_stays_so(core: Path) -> None:
    program = (
        f"{COMMAND}\ndef task(args): os.kill(os.getpid(), 1); os.kill(os.getppid(), 1); return 0\n"
        "entry()"
    )
    command = ["nohup", sys.executable, "-c", program, "types", "-c", str(core)]
    assert subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0


def test_a_signal_ends_what_c_code_called() -> None:
    # numpy asks the class for attributes, and discards what that raises.
    program = f"""{COMMAND}
class Asked(type):
    def __getattr__(cls, name):
        os.kill(os.getpid(), {int(signal.SIGINT)})
        print("not reached", flush=True)
        raise AttributeError(name)

class Operand(metaclass=Asked):
    pass

def task(args):
    import numpy as np
    np.zeros(1) == Operand()
    time.sleep(600)

entry()
"""
    command = [sys.executable, "-c", program, "types"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=20)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


@pytest.mark.parametrize("number", ALL, ids=lambda n: n.name)
def test_processes_that_share_the_work_end_with_the_command(
    core: Path, number: signal.Signals
) -> None:
    program = f"""{COMMAND}
def work(piece):
    while piece > 1:
        pass

def task(args):
    for _ in in_order(work, range(4), 2):
        print("ready", flush=True)

entry()
"""
    with begun(program, "types", "-c", core) as process:
        below = descendants(process.pid)
        assert len(below) == 3
        process.send_signal(number)
        assert process.wait(20) == -number
        until(lambda: all(map(has_ended, below)))


PAUSE = """
import os, sys, time
from pathlib import Path
from pageinspect.target.qemu.monitor import monitor_at

with monitor_at(Path(sys.argv[1])).pausing():
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, None])
def test_a_paused_guest_goes_on(tmp_path: Path, number: signal.Signals | None) -> None:
    (tmp_path / "running").touch()
    script = Path(qmp_server.__file__)
    command = [sys.executable, str(script), str(tmp_path / "socket"), str(tmp_path), "", ""]

    def asked() -> list[str]:
        lines = (tmp_path / "log").read_bytes().splitlines()
        # 0xff ends what the killed process may have left unfinished.
        return [json.loads(line.lstrip(b"\xff"))["execute"] for line in lines]

    with subprocess.Popen(command) as server:
        until((tmp_path / "ready").exists)
        program = PAUSE if number else PAUSE.replace("time.sleep(600)", "pass")
        with begun(program, tmp_path / "socket") as process:
            if number:
                assert asked()[-1] == "stop"
                process.send_signal(number)
            assert process.wait(20) == -(number or 0)
        until(lambda: asked()[-1] == "cont")
        assert asked().count("cont") == 1
        # It is left alone: nobody holds the connection.
        assert server.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_a_terminal_is_what_it_was(number: signal.Signals) -> None:
    program = """
import time
from pageinspect.vm.session import _raw_terminal

with _raw_terminal():
    print("ready", flush=True)
    time.sleep(600)
"""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", program])  # noqa: S606
    try:
        assert os.read(terminal, 100).startswith(b"ready")
        assert not termios.tcgetattr(terminal)[3] & termios.ICANON
        os.kill(pid, number)
        until(lambda: termios.tcgetattr(terminal)[3] & termios.ICANON)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)
