# SPDX-License-Identifier: GPL-2.0-only
"""What is said on standard error, where that takes nothing."""

from places import PACKAGE


def test_nothing_else_writes_to_standard_error() -> None:
    writers = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if "sys.stderr.write(" in path.read_text(encoding="utf-8")
    }
    # The errors of cli.main are written with the same care, and the agent is in guests.
    assert writers == {"host/terminal.py", "cli/main.py", "vm/agent.py"}
