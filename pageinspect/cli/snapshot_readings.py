# SPDX-License-Identifier: GPL-2.0-only
"""Takes a snapshot again and again, until a signal ends it."""

import argparse
import contextlib
import signal
import time
from collections.abc import Iterator

from ..errors import Exit
from ..host.processes import ENDING
from ..host.terminal import say
from .take_snapshot import in_child, targets_of, worst_of


def repeatedly(args: argparse.Namespace) -> int:
    """Take a snapshot every args.every seconds until a signal ends it; return the status.

    The one that is being taken is finished. One that fails is reported, and the next is tried,
    unless it is the first.
    """
    (target,) = targets_of(args)
    with _held() as ending:
        worst = in_child(args, target)
        if worst == Exit.ERROR:
            return worst
        due, latest = time.monotonic(), time.time()
        while True:
            due = max(due + args.every, time.monotonic())
            by = signal.sigtimedwait(ending, max(0.0, due - time.monotonic()))
            if by is not None:
                return worst if by.si_signo == signal.SIGINT else 128 + by.si_signo
            own, now = args, time.time()
            if now < latest and args.keep is not None:
                say("the clock went back: no snapshot is removed until it is later than before")
                own = argparse.Namespace(**{**vars(args), "keep": None})
            latest = max(latest, now)
            worst = worst_of([worst, in_child(own, target)])


@contextlib.contextmanager
def _held() -> Iterator[set[signal.Signals]]:
    """Hold back the signals that end a process, other than those that it ignores."""
    ending = {number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    try:
        yield ending
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
