"""Forking, and what is to be done when a process has ended, however it ended."""

import contextlib
import os
import signal
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path


def fork() -> int:
    """Return as os.fork() does, without its warning about threads.

    Those that read debug information have nothing to do any more.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


class Watcher:
    """A process that runs `action` when the one that made it ends without having called it off.

    SIGKILL ends a process before it can do anything, and PR_SET_PDEATHSIG reaches neither a child
    that became a set-user-ID program nor that child's children. The watcher is in a session of its
    own, and keeps no descriptor open but those in `keep`.
    """

    def __init__(self, action: Callable[[], None], keep: Sequence[int]) -> None:
        reader, self._writer = os.pipe()
        self._pid = fork()
        if self._pid == 0:
            try:
                _detach({reader, *keep})
                if not os.read(reader, 1):
                    action()
            finally:
                os._exit(0)
        os.close(reader)

    def call_off(self) -> None:
        """End the watcher; there is nothing to be done."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._writer, b".")
        self.act()

    def act(self) -> None:
        """Have the action done now, and wait for its end."""
        os.close(self._writer)
        os.waitpid(self._pid, 0)


def _detach(keep: set[int]) -> None:
    """Leave the terminal, its signals, and the open files of the process that is watched."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in {0, 1, 2} - keep:
        os.dup2(null, stream)
    for name in list(Path("/proc/self/fd").iterdir()):
        descriptor = int(name.name)
        if descriptor > 2 and descriptor not in keep:
            # One of them was for listing them.
            with contextlib.suppress(OSError):
                os.close(descriptor)
