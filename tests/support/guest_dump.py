# SPDX-License-Identifier: GPL-2.0-only
"""A dump of a guest from a moment when its free lists and their counters agree, or it is idle."""

import time
from collections.abc import Callable
from pathlib import Path

from drgn import Program
from drgn.helpers.linux.cpumask import for_each_online_cpu
from drgn.helpers.linux.sched import cpu_curr

from pageinspect.kernel.counters import read_counters
from pageinspect.target.open import open_target
from pageinspect.vm.guest import Guest

_MOST = 20


_BETWEEN_S = 0.1


def dump_unlocked(guest: Guest, core: Path) -> None:
    """Dump the guest while no CPU holds the lock of a zone or a list, and leave it paused.

    Under such a lock pages are on their way from one list to another, and in no count or in two.
    """
    _dump_when(_is_unlocked, guest, core)


def dump_idle(guest: Guest, core: Path) -> None:
    """Do the same while no CPU has a task to run either: what ran last may not have ended."""
    _dump_when(_is_idle, guest, core)


def _dump_when(is_so: Callable[[Program], bool], guest: Guest, core: Path) -> None:
    for _ in range(_MOST):
        guest.dump(core)
        if is_so(open_target(core).prog):
            return
        guest.resume()
        time.sleep(_BETWEEN_S)
    raise AssertionError(f"{is_so.__name__} was false in each of {_MOST} dumps")


def _is_unlocked(prog: Program) -> bool:
    return not read_counters(prog).locked


def _is_idle(prog: Program) -> bool:
    running = (cpu_curr(prog, cpu).pid.value_() for cpu in for_each_online_cpu(prog))
    return not any(running) and _is_unlocked(prog)
