# SPDX-License-Identifier: GPL-2.0-only
"""Reading a core in a process apart: whatever ends it is one line here."""

import ctypes
import io
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from waiting import children, has_ended, until

from pageinspect.cli import isolation, parallel
from pageinspect.errors import PageInspectError
from pageinspect.host import progress
from pageinspect.render import TEXT_FORMATS, render
from pageinspect.report import Column, Report, Table, View

CORE = Path("some core")


def end_by(signum: int) -> int:
    os.kill(os.getpid(), signum)
    return 0


def compute_for_ever() -> int:
    while True:
        pass


def fault_in_c() -> int:
    return ctypes.string_at(8)[0]


@pytest.mark.parametrize("status", [0, 3, 4])
def test_the_status_of_the_task_is_passed_on(status: int) -> None:
    assert isolation.run_isolated(lambda: status, CORE) == status


def test_a_crash_is_not_blamed_on_a_core_that_is_not_there() -> None:
    with pytest.raises(PageInspectError, match="read this kernel crashed") as caught:
        isolation.run_isolated(fault_in_c, None)
    assert "this kernel changed" in caught.value.hint


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (fault_in_c, "the libraries that read some core crashed (SIGSEGV)"),
        (partial(end_by, signal.SIGABRT), "crashed (SIGABRT)"),
        (partial(end_by, signal.SIGBUS), "crashed (SIGBUS)"),
        (partial(end_by, signal.SIGKILL), "was killed"),
        (compute_for_ever, "no progress for 1 s of CPU time while reading some core"),
    ],
)
def test_what_ends_the_child_is_an_error(
    task: Callable[[], int], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "STALL_TIMEOUT_S", 1)
    with pytest.raises(PageInspectError) as error:
        isolation.run_isolated(task, CORE)
    assert message in error.value.message
    assert error.value.hint


def compute() -> None:
    """Take a third of the patience of the tests below."""
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass


@pytest.mark.parametrize("every", [1, 100])
def test_a_task_that_gets_on_is_not_ended(every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "STALL_TIMEOUT_S", 0.3)

    def work() -> int:
        steps = [
            step for step in progress.paced(range(6 * every), every) if step % every or compute()
        ]
        return 3 + len(steps) - 6 * (every - 1)

    assert isolation.run_isolated(work, CORE) == 3


def test_what_other_processes_did_is_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "STALL_TIMEOUT_S", 0.3)

    def put_together() -> int:
        for _ in parallel.in_order(lambda piece: piece, range(6), 2):
            compute()
        return 3

    assert isolation.run_isolated(put_together, CORE) == 3


@pytest.mark.parametrize("form", TEXT_FORMATS)
def test_rows_that_are_written_are_progress(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "STALL_TIMEOUT_S", 0.3)
    # As many as come out of one result of a process.
    numbers = (i if i % 8192 else compute() or i for i in range(6 * 8192))

    table = Table("rows", (Column("n", "int64", width=6),), ((n,) for n in numbers))

    class Listing(Report):
        def document(self) -> dict[str, object]:
            return {"rows": table}

        def tables(self) -> tuple[Table, ...]:
            return (table,)

        def view(self) -> View:
            return View(table)

    def write() -> int:
        stream = io.StringIO()
        render(Listing(), form, stream)
        return 3 if "49151" in stream.getvalue() else 1

    assert isolation.run_isolated(write, CORE) == 3


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(isolation, "memory_limit", lambda: 512 << 20)

    def ask() -> int:
        try:
            isolation.explain_errors(lambda: len(bytearray(1 << 30)), CORE)
        except PageInspectError as error:
            sys.stderr.write(error.message)
            return 1
        return 0

    assert isolation.run_isolated(ask, CORE) == 1
    assert capfd.readouterr().err == "reading some core takes more than 512 MiB of memory"


def test_an_error_that_nobody_expected_says_where_it_was() -> None:
    with pytest.raises(PageInspectError) as error:
        isolation.explain_errors(lambda: list(progress.paced(iter([][0:1] or {}["x"]))), CORE)
    assert "some core cannot be decoded: 'x' (KeyError" in error.value.message
    assert "damaged" in error.value.hint


STUCK = """
import itertools, signal, sys
from pathlib import Path
from pageinspect.cli import isolation

signal.signal(signal.SIGINT, signal.SIG_DFL)

def task():
    Path(sys.argv[1]).touch()
    # In C, where Python's handlers of signals do not run.
    return sum(itertools.repeat(1))

sys.exit(isolation.run_isolated(task, Path("core")))
"""


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL], ids=lambda n: n.name
)
def test_a_child_ends_with_its_parent_even_in_c(tmp_path: Path, number: signal.Signals) -> None:
    working = tmp_path / "working"
    with subprocess.Popen([sys.executable, "-c", STUCK, str(working)]) as process:
        until(working.exists)
        begun = children(process.pid)
        process.send_signal(number)
        assert process.wait(20) == -number
    assert begun
    until(lambda: all(map(has_ended, begun)))


INTERRUPTED = """
import itertools, os, sys
from pathlib import Path
from pageinspect.cli import isolation

def task():
    Path(sys.argv[1]).touch()
    return sum(itertools.repeat(1))

try:
    isolation.run_isolated(task, Path("core"))
except KeyboardInterrupt:
    os.waitpid(-1, 0)
"""


def test_a_script_that_is_interrupted_has_no_child_left(tmp_path: Path) -> None:
    working = tmp_path / "working"
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, str(working)], stderr=subprocess.PIPE, text=True
    ) as process:
        until(working.exists)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20)
    assert said.splitlines()[-1] == "ChildProcessError: [Errno 10] No child processes"


def test_an_error_of_the_child_itself_is_reported() -> None:
    program = (
        "import sys; from pageinspect.cli import isolation; "
        "sys.exit(isolation.run_isolated(lambda: 1 // 0, 'core'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.endswith("ZeroDivisionError: integer division or modulo by zero\n")
    assert done.stderr.count("Traceback") == 1


@pytest.mark.parametrize("leave", [False, True])
def test_a_terminal_ends_parent_and_child(tmp_path: Path, leave: bool) -> None:
    working = tmp_path / "working"
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", STUCK, str(working)])  # noqa: S606
    until(working.exists)
    begun = children(pid)
    if not leave:
        os.write(terminal, b"\x03")
    else:
        os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -(signal.SIGHUP if leave else signal.SIGINT)
    until(lambda: all(map(has_ended, begun)))
    if not leave:
        os.close(terminal)


def test_an_error_has_a_line_of_its_own() -> None:
    master, slave = os.openpty()
    child = "sys.stderr.write('half a bar'); sys.stderr.flush(); os.kill(os.getpid(), 9)"
    program = f"""
import os, sys
from pageinspect.cli import isolation
from pageinspect.cli.main import reporting
run = lambda: exec({child!r})
sys.exit(reporting(lambda: isolation.run_isolated(run, isolation.Path("core"))))
"""
    with subprocess.Popen([sys.executable, "-c", program], stderr=slave) as process:
        assert process.wait(20) == 1
    seen = os.read(master, 4096)
    assert seen.startswith(b"half a bar\r\x1b[Kpageinspect: error: the process that read core was")
    os.close(master)
    os.close(slave)


def test_files_that_were_given_are_blamed_with_what_is_read() -> None:
    def fail() -> int:
        raise ValueError("member is not byte-aligned")

    for core, what in ((Path("core"), "core"), (None, "this kernel")):
        with pytest.raises(PageInspectError) as caught:
            isolation.explain_errors(fail, core, [Path("my.btf")])
        assert caught.value.message.startswith(f"{what} with my.btf cannot be decoded: member")
        assert "check that my.btf is complete and of the same build" in caught.value.hint
