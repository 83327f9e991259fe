# SPDX-License-Identifier: GPL-2.0-only
"""Runs a command in a guest with this process's streams, signals and terminal."""

import functools
import os
import shutil
import signal
import termios
import threading
import time
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..host.processes import cleanup_even_if_killed
from .errors import GuestLostError
from .guest import Guest
from .progress import Progress

if TYPE_CHECKING:
    from .process import GuestProcess

_SHELL = ("/bin/bash", "-l")
_STREAMS = {"stdout": 1, "stderr": 2}
_CHUNK = 1 << 16

ESCAPE = b"\x1d"
"""Ctrl-] ends the guest from a shell; Ctrl-C goes to the shell."""


class _Session:
    """State shared by the threads that forward output and input."""

    def __init__(self, guest: Guest) -> None:
        self._guest = guest
        self.broken: BrokenPipeError | None = None
        self.escaped = False
        self.process: GuestProcess

    def output(self, stream: str, data: bytes) -> None:
        """Write a chunk to this process's stream; blocks if the reader does not read."""
        if self.broken is not None:
            return
        try:
            while data:
                data = data[os.write(_STREAMS[stream], data) :]
        except BrokenPipeError as error:
            self.broken = error
            self.process.send_signal(signal.SIGPIPE)

    def input(self, *, terminal: bool) -> None:
        """Forward standard input until its end; in a thread."""
        try:
            while data := os.read(0, _CHUNK):
                if terminal and ESCAPE in data:
                    self.escaped = True
                    self._guest.quit()
                    return
                self.process.write(data)
            self.process.close_stdin()
        except (OSError, GuestLostError):
            return  # the main thread reports it


def run_command(guest: Guest, argv: Sequence[str], timeout: float | None, say: Progress) -> int:
    """Run a command with this process's streams and return its status as a shell would.

    The first KeyboardInterrupt interrupts the command, a second one is raised. Raises
    GuestLostError, GuestTimeoutError, and BrokenPipeError when the reader of the output left.
    """
    session = _Session(guest)
    end = None if timeout is None else time.monotonic() + timeout
    session.process = guest.start(argv, on_output=session.output)
    with _interruptible():
        try:
            threading.Thread(target=session.input, kwargs={"terminal": False}, daemon=True).start()
            status = session.process.wait(timeout)
        except KeyboardInterrupt:
            session.process.send_signal(signal.SIGINT)
            say("interrupted the command; Ctrl-C again ends the guest")
            status = session.process.wait(None if end is None else max(end - time.monotonic(), 0))
    if session.broken is not None:
        raise session.broken
    return _shell_status(status)


def run_shell(guest: Guest, timeout: float | None, say: Progress) -> int:
    """Run a shell on this terminal and return its status."""
    session = _Session(guest)
    columns, rows = shutil.get_terminal_size()
    say("a shell in the guest; Ctrl-] ends the guest")
    env = {"TERM": os.environ.get("TERM", "linux")}
    with _raw_terminal():
        session.process = guest.start(
            _SHELL, env=env, tty=(rows, columns), on_output=session.output
        )
        signal.signal(signal.SIGWINCH, lambda *_: session.process.resize(*_size()))
        threading.Thread(target=session.input, kwargs={"terminal": True}, daemon=True).start()
        try:
            return _shell_status(session.process.wait(timeout))
        except GuestLostError:
            if session.escaped:
                return 0
            raise


def _size() -> tuple[int, int]:
    columns, rows = os.get_terminal_size(0)
    return rows, columns


def _shell_status(status: int) -> int:
    return status if status >= 0 else 128 - status


@contextmanager
def _interruptible() -> Iterator[None]:
    """Make Ctrl-C raise KeyboardInterrupt instead of ending this process."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _raw_terminal() -> Iterator[None]:
    before = termios.tcgetattr(0)
    restore = functools.partial(termios.tcsetattr, 0, termios.TCSADRAIN, before)
    with cleanup_even_if_killed(restore, keep=[0]):
        tty.setraw(0)
        yield
