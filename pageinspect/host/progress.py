"""A process that reads a core and makes no progress is ended."""

import signal
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

_watched = False

PATIENCE_S = 60
"""Seconds of CPU time between two steps. Opening a core takes half a second, a memory section a
hundredth."""


def watch() -> None:
    """Have the kernel end this process when it makes no progress for PATIENCE_S."""
    global _watched  # noqa: PLW0603 - a process is watched or it is not
    _watched = True
    getting_on()


def getting_on() -> None:
    """Note progress: the time of a watched process starts anew."""
    if _watched:
        # CPU time, because a slow disk is not the core's fault. SIGPROF ends even a loop in C.
        signal.setitimer(signal.ITIMER_PROF, PATIENCE_S)


def paced(steps: Iterable[T], every: int = 1) -> Iterator[T]:
    """Yield the steps; each of them, or one in `every`, counts as progress."""
    rest = iter(steps)
    for step in rest:
        getting_on()
        yield step
        yield from islice(rest, every - 1)
