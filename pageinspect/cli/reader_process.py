# SPDX-License-Identifier: GPL-2.0-only
"""The process that reads memory for a screen: limited as for a report, and begun again if it ends.

Two processes are forked before the screen starts threads. The inner one reads, and a damaged core
may end it; the outer one has read nothing, reports how the inner one ended, and forks another when
the next question comes. Both end with the process that draws.
"""

import contextlib
import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from ..errors import PageInspectError
from ..host.processes import fork, kill_with_parent
from ..screen.reading import ScreenReading
from ..screen.wire import answer
from . import isolation

_END_SECONDS = 0.5
"""How long a reader may take to end by itself, before it is killed."""

Serve = Callable[[socket.socket], None]
"""Answers questions on a socket until its end."""


@dataclass(frozen=True, slots=True)
class ReaderProcess:
    """Forked processes that read."""

    pid: int
    """Of the outer one, and of their process group."""
    connection: socket.socket
    said: int
    """A file with what they wrote to standard error."""

    def messages(self) -> str:
        """Return what they wrote to standard error."""
        size = os.fstat(self.said).st_size
        return os.pread(self.said, size, 0).decode(errors="backslashreplace")

    def end(self) -> None:
        """End the processes: by themselves, so that what they keep is saved, or by a signal."""
        self.connection.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGCONT)
        ended = os.pidfd_open(self.pid)
        try:
            if not select.select([ended], [], [], _END_SECONDS)[0]:
                # The inner process and those that it started end with their parent.
                signal.pidfd_send_signal(ended, signal.SIGKILL)
        finally:
            os.close(ended)
            os.waitpid(self.pid, 0)


@contextlib.contextmanager
def reader_process(serve: Serve, source: Path | None) -> Iterator[ReaderProcess]:
    """Run `serve`, which reads `source` (None: this kernel), in a process of its own."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    here, there = socket.socketpair()
    said = os.memfd_create("said")
    parent = os.getpid()
    gc.freeze()
    pid = fork()
    if pid == 0:
        here.close()
        _run(serve, there, source, said, parent)
    there.close()
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)
    process = ReaderProcess(pid, here, said)
    try:
        yield process
    finally:
        process.end()
        os.close(said)


def _run(
    serve: Serve, connection: socket.socket, source: Path | None, said: int, parent: int
) -> NoReturn:
    """Run the outer process, and exit."""
    try:
        # Stopping the screen stops them alone, and keys of the terminal do not reach them.
        os.setpgid(0, 0)
        kill_with_parent(parent)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor, instead in ((0, nothing), (1, nothing), (2, said)):
            os.dup2(instead, descriptor)
        sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
        while (status := _status_of_inner(serve, connection)) != 0:
            connection.sendall(answer(None, _reading_of(status, source)))
            if not connection.recv(1, socket.MSG_PEEK):
                break
    finally:
        os._exit(0)


def _status_of_inner(serve: Serve, connection: socket.socket) -> int:
    parent = os.getpid()
    pid = fork()
    if pid == 0:
        status = 1
        try:
            isolation.limit(parent)
            serve(connection)
            status = 0
        except BaseException:  # noqa: BLE001 - nobody is left to report it in another way
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    _, ended = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(ended)


def _reading_of(status: int, source: Path | None) -> ScreenReading:
    """Return the reading that reports how the process which reads ended."""
    what = source or Path("/proc/kcore")
    hint = "press r to try again"
    if status > 0:
        return ScreenReading(error=f"the process that read {what} failed", hint=hint)
    try:
        raise isolation.error_of_signal(signal.Signals(-status), what)
    except PageInspectError as error:
        return ScreenReading(error=error.message, hint=error.hint)
    except SystemExit:
        return ScreenReading(error=f"the process that read {what} was ended by a signal", hint=hint)
