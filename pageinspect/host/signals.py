"""Signals that end this process: they raise, so that `finally` clauses run, and are not lost.

What a handler raises comes out wherever the process is, and C code that calls Python may forget it:
numpy does so while it looks up attributes. So an exception that went before it was settled is
raised again.
"""

import atexit
import signal
import sys

TYPE_CHECKING = False  # as in commands/: --help is to import little
if TYPE_CHECKING:
    from typing import NoReturn

_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_AGAIN_S = 0.01

_raising: set[int] = set()
"""The signals that raise, or did so once and are ignored since."""


class _Signal:
    def __init__(self, number: int) -> None:
        self.number = number


_unsettled: _Signal | None = None


class _Watch:
    """Goes when the exception goes that it is an attribute of."""

    of: _Signal | None = None

    def __del__(self) -> None:
        if self.of is _unsettled:
            # Not at once: nothing that is raised in here comes out.
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S, _AGAIN_S)


def end_by_signals() -> None:
    """Raise SystemExit at SIGTERM and SIGHUP, KeyboardInterrupt at SIGINT, until settled()."""
    signal.signal(signal.SIGALRM, _again)
    # At Python's own end no handler is left for the timer.
    atexit.register(settled)
    sys.unraisablehook = _tell_unraisable
    for number in _SIGNALS:
        # nohup's SIGHUP and a background job's SIGINT stay ignored.
        if signal.getsignal(number) != signal.SIG_IGN:
            _raising.add(number)
            signal.signal(number, _end)


def settled() -> None:
    """Say that the exception of a signal was caught on purpose: it has had its effect."""
    global _unsettled  # noqa: PLW0603 - so are a process's signals
    _unsettled = None
    signal.setitimer(signal.ITIMER_REAL, 0)


def raise_lost() -> None:
    """Raise again what is not settled: the error at hand may be what C code made of it."""
    if _unsettled is not None:
        _raise(_unsettled.number)


def no_more() -> None:
    """Say that no `finally` clause is left to run: signals end this process at once."""
    settled()
    for number in _raising:
        signal.signal(number, signal.SIG_DFL)


def _end(number: int, _frame: object) -> None:
    if number != signal.SIGINT:
        # Once: timeout, a shell and guard.py send it again, into what ends this process.
        signal.signal(number, signal.SIG_IGN)
    _raise(number)


def _again(_number: int, _frame: object) -> None:
    raise_lost()
    signal.setitimer(signal.ITIMER_REAL, 0)


def _raise(number: int) -> "NoReturn":
    global _unsettled  # noqa: PLW0603
    signal.setitimer(signal.ITIMER_REAL, 0)
    _unsettled = _Signal(number)
    # No variable holds it: a traceback holds these, and so it would hold itself.
    raise _watched(_unsettled)


def _watched(of: _Signal) -> BaseException:
    interrupt = of.number == signal.SIGINT
    error = KeyboardInterrupt() if interrupt else SystemExit(128 + of.number)
    error.__dict__["watch"] = watch = _Watch()
    # Not in __init__(), which another signal may leave half done.
    watch.of = of
    return error


def _tell_unraisable(lost: "sys.UnraisableHookArgs") -> None:
    # One of ours is raised again.
    if not hasattr(lost.exc_value, "watch"):
        sys.__unraisablehook__(lost)
