# SPDX-License-Identifier: GPL-2.0-only
"""Alarms that run a program, and a report that nobody reads."""

import fcntl
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from places import ROOT, SUPPORT
from trace_reports import EVENTS, watch


def test_the_program_runs_once_on_the_first(tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    watching = watch(["sh", "-c", f"echo once >> {ran}"])
    watching.see([])
    for event in EVENTS:
        watching.see([event])
    watching.fire()
    watching.finish()
    assert ran.read_text() == "once\n"


def test_a_program_that_cannot_start_is_reported(capfd: pytest.CaptureFixture[str]) -> None:
    watching = watch(["/dev/null"])
    watching.see(EVENTS)
    watching.finish()
    assert capfd.readouterr().err.splitlines()[-1] == (
        "pageinspect: /dev/null: cannot be started: Permission denied"
    )


BLOCKED = """
import sys
from fake_program import FakeProgram
from pageinspect.cli.intervals import until_reader_leaves
from pageinspect.trace.session import Session
import contextlib
session = Session(FakeProgram(), None, 0.01)
with until_reader_leaves(sys.stdout), contextlib.closing(session.readings()) as readings:
    for _ in readings:
        sys.stdout.write("x" * (1 << 26))
        sys.stdout.flush()
"""


def test_two_signals_end_it_in_a_write_that_nobody_reads() -> None:
    read, write = os.pipe()
    environment = os.environ | {"PYTHONPATH": f"{SUPPORT}:{ROOT}"}
    # Without a buffer Python forgets the rest of a write that a signal interrupts.
    environment.pop("PYTHONUNBUFFERED", None)
    child = subprocess.Popen([sys.executable, "-c", BLOCKED], stdout=write, env=environment)
    os.close(write)
    # No pipe holds the first report: its write has begun, and does not end.
    while fcntl.ioctl(read, termios.FIONREAD, bytes(4)) == bytes(4):
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.3)
    child.send_signal(signal.SIGTERM)
    assert child.wait(60) == 128 + signal.SIGTERM
    os.close(read)
