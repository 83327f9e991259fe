# SPDX-License-Identifier: GPL-2.0-only
"""What workers of a Dask cluster do for cluster.py: they run commands in new processes.

A worker has threads, so that a process must not be forked from it: a lock that another thread has
stays taken in the child for ever. So each task starts a new Python, which ends with its worker.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from ..errors import Exit, PageInspectError
from ..host.processes import kill_with_parent
from ..units import printable
from ..version import __version__

_CHILD = "from pageinspect.cli.cluster_worker import begin; begin()"
_MOST_TEXT = 1 << 20
"""Bytes of the output of a command that are kept."""

_lock = threading.Lock()
_running: dict[str, set["subprocess.Popen[bytes]"]] = defaultdict(set)
_ended: set[str] = set()


class Outcome(NamedTuple):
    """What became of a command."""

    status: int
    out: str = ""
    """What it printed: untrusted text, as err is."""
    err: str = ""
    lost: str = ""
    """Why it has no status of its own, if its worker was killed or failed."""


def other_version(who: str, has: str | None, wanted: str = __version__) -> PageInspectError:
    """Return the error for a worker with another version of pageinspect than wanted, or none."""
    what = "no pageinspect" if has is None else f"pageinspect {printable(has)}"
    return PageInspectError(
        f"the worker {printable(who)} has {what}, and this is {printable(wanted)}",
        f"on its machine: pip install 'pageinspect[snapshot,dask]=={printable(wanted)}'",
    )


def own_version() -> str:
    """Return the version of pageinspect here."""
    return __version__


def run_command(words: Sequence[str], version: str, run: str) -> Outcome:
    """Run a command of pageinspect in a new process, which ends with this one, on a worker.

    `run` is the id of all commands that end_commands() ends. Raises PageInspectError if this is not
    the wanted version.
    """
    if version != __version__:
        raise other_version(socket.gethostname(), __version__, version)
    with _lock:
        if run in _ended:
            return Outcome(Exit.INTERRUPTED)
        # The kernel ends it when this thread ends, which waits for it.
        process = subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(os.getpid()), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        _running[run].add(process)
    with process:
        try:
            out, err = (_text(data) for data in process.communicate())
        finally:
            with _lock:
                _running[run].discard(process)
                if not _running[run]:
                    del _running[run]
    if process.returncode < 0:
        by = signal.Signals(-process.returncode).name
        return Outcome(Exit.ERROR, out, err, f"a signal ended the process that read it ({by})")
    return Outcome(process.returncode, out, err)


def _text(data: bytes) -> str:
    return data[:_MOST_TEXT].decode("utf-8", "replace")


def end_commands(run: str) -> None:
    """Kill the commands of a run on this worker, and start no others."""
    with _lock:
        _ended.add(run)
        for process in _running.get(run, ()):
            process.kill()


def begin() -> None:
    """Be the process of run_command()."""
    kill_with_parent(int(sys.argv.pop(1)))
    from .main import entry

    entry()
