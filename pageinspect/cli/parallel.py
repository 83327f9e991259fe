# SPDX-License-Identifier: GPL-2.0-only
"""Runs work in several processes and yields the results in order.

Each process is a fork of this one, made after the kernel was opened and its memory map read. It
takes every n-th piece and sends the result back over a pipe, which blocks until the result is
needed. If a worker dies, the whole operation fails; no worker outlives this process.
multiprocessing.Pool would hang when a worker is killed, and concurrent.futures does not stop
workers that are ahead.
"""

import contextlib
import gc
import os
import pickle
import signal
import struct
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NoReturn, TypeVar

from ..errors import PageInspectError
from ..host.processes import fork, kill_with_parent
from ..host.progress import paced

Piece = TypeVar("Piece")
Result = TypeVar("Result")

_LENGTH = struct.Struct("<q")
_HINT = "run it again with --jobs 1 for details; a core must not change while it is read"
_KILLED = "did this machine run out of memory? see its kernel log; --jobs 1 needs the least"


def available() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class _Worker:
    pid: int
    results: BinaryIO


def in_order(
    work: Callable[[Piece], Result], pieces: Sequence[Piece], jobs: int
) -> Generator[Result, None, None]:
    """Yield work(piece) for each piece, in order, from `jobs` processes.

    Results are pickled. An error that the work raises is raised here; raises PageInspectError for a
    process that ends before it is done.
    """
    workers: list[_Worker] = []
    try:
        for number in range(min(jobs, len(pieces))):
            workers.append(_start(work, pieces[number::jobs], workers))
        # A result of a worker is progress of this process too.
        yield from paced(_receive(workers[number % jobs]) for number in range(len(pieces)))
    finally:
        for worker in workers:
            # Nobody has waited for it yet, so the pid is still its own.
            os.kill(worker.pid, signal.SIGKILL)
            worker.results.close()
        for worker in workers:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(worker.pid, 0)


def _start(
    work: Callable[[Piece], Result], pieces: Sequence[Piece], others: Sequence[_Worker]
) -> _Worker:
    read_end, write_end = os.pipe()
    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = fork()
    if pid == 0:
        os.close(read_end)
        for other in others:
            other.results.close()
        _serve(work, pieces, write_end, parent)
    os.close(write_end)
    return _Worker(pid, os.fdopen(read_end, "rb"))


def _serve(
    work: Callable[[Piece], Result], pieces: Sequence[Piece], write_end: int, parent: int
) -> NoReturn:
    """Run the worker process, and exit."""
    status = 1
    try:
        gc.freeze()
        kill_with_parent(parent)
        with os.fdopen(write_end, "wb") as results:
            for piece in pieces:
                try:
                    sent = pickle.dumps((work(piece), None))
                except Exception as error:  # noqa: BLE001 - raised again by the parent
                    sent = pickle.dumps((None, error))
                results.write(_LENGTH.pack(len(sent)) + sent)
                results.flush()
        status = 0
    finally:
        os._exit(status)


def _receive(worker: _Worker) -> Result:  # type: ignore[type-var]
    header = worker.results.read(_LENGTH.size)
    length = _LENGTH.unpack(header)[0] if len(header) == _LENGTH.size else -1
    sent = worker.results.read(length) if length >= 0 else b""
    if len(sent) != length:
        raise _error(worker)
    result, error = pickle.loads(sent)  # noqa: S301 - written by this program itself
    if error is not None:
        raise error
    return result


def _error(worker: _Worker) -> PageInspectError:
    """Return how a worker ended, without reaping it: others are still to be killed by pid."""
    info = os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
    if info is None or info.si_code not in (os.CLD_KILLED, os.CLD_DUMPED):
        return PageInspectError("a process that read pages failed", _HINT)
    name = signal.Signals(info.si_status).name
    hint = _KILLED if info.si_status == signal.SIGKILL else _HINT
    return PageInspectError(f"a process that read pages was ended by {name}", hint)
