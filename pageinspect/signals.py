"""Signals that end this process: they raise, so that `finally` clauses run, and are not lost.

What a handler raises comes out wherever the process is, and C code that calls Python may forget it:
numpy does so while it looks up attributes. So an exception that went before it was settled is
raised again.
"""

import signal

_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_AGAIN_S = 0.01

_wanted: int | None = None
"""The signal whose exception is not settled."""


class _Raised:
    def __del__(self) -> None:
        if _wanted is not None:
            # Not at once: nothing that is raised in here comes out.
            signal.setitimer(signal.ITIMER_REAL, _AGAIN_S, _AGAIN_S)


class _Ended(_Raised, SystemExit):
    pass


class _Interrupted(_Raised, KeyboardInterrupt):
    pass


def end_by_signals() -> None:
    """Raise SystemExit at SIGTERM and SIGHUP, KeyboardInterrupt at SIGINT, until settled()."""
    for number in _SIGNALS:
        # nohup's SIGHUP and a background job's SIGINT stay ignored.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _end)
    signal.signal(signal.SIGALRM, _again)


def settled() -> None:
    """Say that the exception of a signal was caught on purpose: it has had its effect."""
    global _wanted  # noqa: PLW0603 - so are a process's signals
    _wanted = None
    signal.setitimer(signal.ITIMER_REAL, 0)


def no_more() -> None:
    """Say that no `finally` clause is left to run: signals end this process at once."""
    settled()
    for number in _SIGNALS:
        if signal.getsignal(number) is _end:
            signal.signal(number, signal.SIG_DFL)


def _end(number: int, _frame: object) -> None:
    global _wanted  # noqa: PLW0603
    _wanted = number
    if number == signal.SIGINT:
        raise _Interrupted
    # Once: timeout, a shell and guard.py send it again, into what ends this process.
    signal.signal(number, signal.SIG_IGN)
    raise _Ended(128 + number)


def _again(_number: int, _frame: object) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    if _wanted is not None:
        _end(_wanted, None)
