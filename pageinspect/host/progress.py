"""Signs of progress: a process that shows none while it reads a core is ended."""

import signal
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

_watched = False

PATIENCE_S = 60
"""Seconds of CPU time from one sign of progress to the next. Opening a core takes half of one, a
memory section a hundredth."""


def watch() -> None:
    """Have this process ended when it shows no progress for PATIENCE_S."""
    global _watched  # noqa: PLW0603 - a process is watched or it is not
    _watched = True
    getting_on()


def getting_on() -> None:
    """Note progress: a child that makes none for PATIENCE_S is ended."""
    if _watched:
        # By CPU time, for a slow disk is no fault of the core. SIGPROF ends even a loop in C.
        signal.setitimer(signal.ITIMER_PROF, PATIENCE_S)


def paced(steps: Iterable[T], every: int = 1) -> Iterator[T]:
    """Yield the steps: each of them, or `every` so many, is progress."""
    rest = iter(steps)
    for step in rest:
        getting_on()
        yield step
        yield from islice(rest, every - 1)
