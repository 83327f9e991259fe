# SPDX-License-Identifier: GPL-2.0-only
"""Forks processes, and cleans up when a process ends, also by SIGKILL.

Signals that end a process keep their default disposition. Python's handlers are not used, because C
code could delay them or discard their exceptions. Cleanup is done by the kernel (PR_SET_PDEATHSIG,
unnamed files) or by another process (Watcher).
"""

import contextlib
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals by which users, shells and terminals end a process."""


def fork() -> int:
    """Call os.fork() without its warning about threads.

    drgn's threads, which read debug information, are idle at this time. The child has no handlers
    of signals from the start: a signal would run the clean-up of the parent in it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        # A handler may raise when this has changed the mask.
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            _restore_signals()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _restore_signals() -> None:
    for number in ENDING:
        # Keep SIGHUP of nohup and SIGINT of a background job ignored.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def kill_with_parent(parent: int) -> None:
    """In a forked child: restore default signal handling, and get SIGKILL when the parent ends.

    `parent` is the pid of the parent, whose main thread must have forked: the kernel sends the
    signal when the thread that forked ends.
    """
    import ctypes
    import faulthandler

    # A crash would be in C code, where a Python traceback does not help.
    faulthandler.disable()
    _restore_signals()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def command_ending_with_parent(argv: Sequence[str], name: str = "KILL") -> list[str]:
    """Return a command that runs `argv`, and sends it a signal when this process ends.

    The kernel sends the signal when the thread that started the command ends. The shell checks that
    this process did not end before setpriv requested the signal.
    """
    check = '[ "$PPID" = "$0" ] && exec "$@"'
    return ["setpriv", "--pdeathsig", name, "sh", "-c", check, str(os.getpid()), *argv]


class Watcher:
    """A process that runs `action` when its creator ends without cancelling it.

    SIGKILL gives a process no chance to clean up, and PR_SET_PDEATHSIG reaches neither a child that
    executed a set-user-ID program nor the children of that child. The watcher has its own session,
    and keeps open only the descriptors in `keep`.
    """

    def __init__(self, action: Callable[[], object], keep: Sequence[int]) -> None:
        reader, self._writer = os.pipe()
        detached, detaching = os.pipe()
        self._pid = fork()
        if self._pid == 0:
            try:
                _detach({reader, detaching, *keep})
                os.close(detaching)
                if not os.read(reader, 1):
                    action()
            finally:
                os._exit(0)
        os.close(reader)
        os.close(detaching)
        # Wait until it has its own session: before, a signal to the process group would end it.
        os.read(detached, 1)
        os.close(detached)

    def cancel(self) -> None:
        """End the watcher without running the action."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._writer, b".")
        self.act()

    def act(self) -> None:
        """Make the watcher run the action now, and wait until it has ended."""
        os.close(self._writer)
        os.waitpid(self._pid, 0)


@contextlib.contextmanager
def cleanup_even_if_killed(
    action: Callable[[], object],
    keep: Sequence[int] = (),
    orphaned: Callable[[], object] | None = None,
) -> Iterator[None]:
    """Run `action` at the end of this context, even if this process is killed.

    If it is killed, or `action` raises, a Watcher runs `orphaned` (default: `action`).
    """
    watcher = Watcher(orphaned or action, keep)
    end = watcher.act
    try:
        yield
    finally:
        try:
            action()
            end = watcher.cancel
        finally:
            end()


def _detach(keep: set[int]) -> None:
    """Start a new session, ignore signals, and close inherited descriptors except `keep`."""
    os.setsid()
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in {0, 1, 2} - keep:
        os.dup2(null, stream)
    for name in list(Path("/proc/self/fd").iterdir()):
        descriptor = int(name.name)
        if descriptor > 2 and descriptor not in keep:
            # The descriptor of the listing itself is closed already.
            with contextlib.suppress(OSError):
                os.close(descriptor)
