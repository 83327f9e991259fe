"""What is said on standard error, where that takes nothing."""

import subprocess
import sys
from pathlib import Path

import pytest
from places import PACKAGE


@pytest.mark.parametrize("call", ["say('x')", "write_line('x')", "write('x')"])
def test_a_full_standard_error_ends_no_run(call: str) -> None:
    program = f"from pageinspect.host.terminal import *; {call}; print('went on')"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=full, check=False
        )
    assert (done.returncode, done.stdout) == (0, b"went on\n")


def test_nothing_else_writes_to_standard_error() -> None:
    writers = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "sys.stderr.write(" in path.read_text(encoding="utf-8")
    }
    # The errors of cli.main are written with the same care, and the agent is in guests.
    assert writers == {"host/terminal.py", "cli/main.py", "vm/agent.py"}
