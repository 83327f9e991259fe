# SPDX-License-Identifier: GPL-2.0-only
"""The QEMU of a guest as a process of this machine."""

import time
from collections.abc import Callable
from pathlib import Path

from pageinspect.vm.kernel import BuiltKernel

Ready = Callable[[str], BuiltKernel]
ONE = "newest"
"""The kernel of tests that one kernel is enough for."""
SOON_S = 60.0


def runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def ends(pid: int) -> bool:
    """Wait for a process to end."""
    end = time.monotonic() + SOON_S
    while runs(pid) and time.monotonic() < end:
        time.sleep(0.05)
    return not runs(pid)
