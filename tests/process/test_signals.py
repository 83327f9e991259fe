"""A signal ends the process also where C code forgets what its handler raised."""

import os
import signal
import subprocess
import sys

import pytest

# numpy asks the class for attributes, and clears what comes of it.
START = """
import os, signal, sys, time
from argparse import Namespace
import numpy as np
from pageinspect.cli import isolation
from pageinspect.cli.main import _run_command
from pageinspect.host.signals import end_by_signals, no_more, settled

number = int(sys.argv[1])

class Signals(type):
    sent = False
    def __getattr__(cls, name):
        if not Signals.sent:
            Signals.sent = True
            os.kill(os.getpid(), number)
            print("not reached", flush=True)
        raise AttributeError(name)

class Operand(metaclass=Signals):
    pass

def tidy():
    # Longer than what is lost takes to come again.
    time.sleep(0.3)
    print("tidied", flush=True)

end_by_signals()
"""

FORGOTTEN = """
def task():
    try:
        np.zeros(1) == Operand()
        os.read(os.pipe()[0], 1)
    finally:
        tidy()

sys.exit(isolation.apart(task, "core"))
"""

ALONE = """
try:
    np.zeros(1) == Operand()
    os.read(os.pipe()[0], 1)
except KeyboardInterrupt:
    tidy()
    settled()
    status = 130
except SystemExit as end:
    tidy()
    status = end.code
finally:
    no_more()
sys.exit(status)
"""

TURNED_INTO_ANOTHER = """
def run(args):
    args.ends.callback(tidy)
    try:
        os.kill(os.getpid(), number)
    except BaseException:
        pass
    raise ImportError("numpy's C part")

sys.exit(isolation.apart(lambda: _run_command(Namespace(run=run)), "core"))
"""

NOBODY_CAN_BE_TOLD = """
class Garbage:
    def __del__(self):
        os.kill(os.getpid(), number)
        print("not reached", flush=True)

def task():
    try:
        Garbage()
        os.read(os.pipe()[0], 1)
    finally:
        tidy()

sys.exit(isolation.apart(task, "core"))
"""

ANOTHER_CAME_FIRST = """
def task():
    wanted, other = number, signal.SIGTERM if number != signal.SIGTERM else signal.SIGHUP
    globals()["number"] = other
    try:
        np.zeros(1) == Operand()
        os.kill(os.getpid(), wanted)
    finally:
        tidy()

sys.exit(isolation.apart(task, "core"))
"""


def ended(program: str, number: signal.Signals) -> tuple[int, str, str]:
    with subprocess.Popen(
        [sys.executable, "-c", START + program, str(int(number))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            # Its child would wait for ever.
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return process.returncode, out, err


@pytest.mark.parametrize(
    "program",
    [
        pytest.param(FORGOTTEN, id="forgotten"),
        pytest.param(ALONE, id="alone"),
        pytest.param(TURNED_INTO_ANOTHER, id="turned into another"),
        pytest.param(NOBODY_CAN_BE_TOLD, id="nobody can be told"),
        pytest.param(ANOTHER_CAME_FIRST, id="another came first"),
    ],
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_it_is_not_lost(number: signal.Signals, program: str) -> None:
    assert ended(program, number) == (128 + number, "tidied\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_what_nobody_settles_ends_as_it_should(number: signal.Signals) -> None:
    assert ended("os.kill(os.getpid(), number)", number) == (128 + number, "", "")
