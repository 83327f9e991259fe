"""A signal ends the process also where C code forgets what its handler raised."""

import signal
import subprocess
import sys

import pytest

# numpy asks the class for attributes, and clears what comes of it.
FORGETFUL = """
import os, sys, time
import numpy as np
from pageinspect import guard
from pageinspect.signals import end_by_signals, no_more, settled

number, apart = int(sys.argv[1]), sys.argv[2] == "apart"
forgotten = False

class Signals(type):
    def __getattr__(cls, name):
        global forgotten
        if not forgotten:
            forgotten = True
            os.kill(os.getpid(), number)
            print("not reached", flush=True)
        raise AttributeError(name)

class Operand(metaclass=Signals):
    pass

def task():
    try:
        try:
            np.zeros(1) == Operand()
            os.read(os.pipe()[0], 1)
        finally:
            # Longer than what is lost takes to come again.
            time.sleep(0.3)
            print("tidied", flush=True)
    except KeyboardInterrupt:
        settled()
        return 130
    return 0

end_by_signals()
try:
    sys.exit(guard.apart(task, "core") if apart else task())
finally:
    no_more()
"""


@pytest.mark.parametrize("how", ["apart", "alone"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_what_is_forgotten_comes_again(number: signal.Signals, how: str) -> None:
    command = [sys.executable, "-c", FORGETFUL, str(int(number)), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "tidied\n", "")
