# SPDX-License-Identifier: GPL-2.0-only
"""A watchdog that ends a process which makes no progress while it reads a core."""

import signal
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

_watched = False

STALL_TIMEOUT_S = 60
"""Maximum CPU time in seconds between two steps. Opening a core takes 0.5 s, a memory section
0.01 s."""


def watch() -> None:
    """Start the watchdog: the kernel ends this process after STALL_TIMEOUT_S without progress."""
    global _watched  # noqa: PLW0603 - a process is watched or it is not
    _watched = True
    note_progress()


def note_progress() -> None:
    """Report progress: restart the timer of the watchdog."""
    if _watched:
        # CPU time does not include waiting for a slow disk. SIGPROF also ends a loop in C.
        signal.setitimer(signal.ITIMER_PROF, STALL_TIMEOUT_S)


def paced(steps: Iterable[T], every: int = 1) -> Iterator[T]:
    """Yield the steps, and report progress at each one, or at every `every`-th."""
    rest = iter(steps)
    for step in rest:
        note_progress()
        yield step
        yield from islice(rest, every - 1)
