"""Forking, and what happens when a process ends, however it ends.

Signals that end a process have their default disposition: no handler of Python's runs, which C code
could delay or whose exception it could discard. What must be done at the end is done by the kernel
(PR_SET_PDEATHSIG, files without a name) or by another process (Watcher).
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
    """Return as os.fork() does, without its warning about threads.

    Threads that read debug information are idle by then.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def end_with_parent(parent: int) -> None:
    """Have this forked process end at once by signals, and by SIGKILL when its parent ends.

    `parent` is the pid that forked it. The parent is its main thread: PR_SET_PDEATHSIG is sent when
    the thread that forked ends.
    """
    import ctypes
    import faulthandler

    # What it would print of a crash is about Python, where the crash is not.
    faulthandler.disable()
    for number in ENDING:
        # nohup's SIGHUP and a background job's SIGINT stay ignored.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def ending_with_this(argv: Sequence[str], name: str = "KILL") -> list[str]:
    """Return a command that runs another one, which gets a signal when this process ends.

    The signal comes when the thread that starts it ends. The shell sees to it that this process has
    not ended before the kernel was asked for the signal.
    """
    check = '[ "$PPID" = "$0" ] && exec "$@"'
    return ["setpriv", "--pdeathsig", name, "sh", "-c", check, str(os.getpid()), *argv]


class Watcher:
    """A process that runs `action` when the one that made it ends without having called it off.

    SIGKILL ends a process before it can do anything, and PR_SET_PDEATHSIG reaches neither a child
    that became a set-user-ID program nor that child's children. The watcher is in a session of its
    own, and keeps no descriptor open but those in `keep`.
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
        # Until then a signal to the process group would end the watcher too.
        os.read(detached, 1)
        os.close(detached)

    def call_off(self) -> None:
        """End the watcher without the action."""
        with contextlib.suppress(BrokenPipeError):
            os.write(self._writer, b".")
        self.act()

    def act(self) -> None:
        """Run the action now, and wait for its end."""
        os.close(self._writer)
        os.waitpid(self._pid, 0)


@contextlib.contextmanager
def even_if_killed(
    action: Callable[[], object],
    keep: Sequence[int] = (),
    orphaned: Callable[[], object] | None = None,
) -> Iterator[None]:
    """Run `action` at the end of this context.

    If this process is killed before that, or `action` raises, a Watcher runs `orphaned`: the same
    by default.
    """
    watcher = Watcher(orphaned or action, keep)
    end = watcher.act
    try:
        yield
    finally:
        try:
            action()
            end = watcher.call_off
        finally:
            end()


def _detach(keep: set[int]) -> None:
    """Leave the session, ignore signals, and close the files of the process that is watched."""
    os.setsid()
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in {0, 1, 2} - keep:
        os.dup2(null, stream)
    for name in list(Path("/proc/self/fd").iterdir()):
        descriptor = int(name.name)
        if descriptor > 2 and descriptor not in keep:
            # One of them was for the listing itself.
            with contextlib.suppress(OSError):
                os.close(descriptor)
