# SPDX-License-Identifier: GPL-2.0-only
"""Reads a core in a child process, because a damaged core can crash its reader.

drgn, libelf and libkdumpfile are C: a damaged or malicious file can make them crash, loop or
allocate all memory. So a command on a core runs in a child with limits on memory and on CPU time
without progress. The parent reports the end of the child as one line and a hint. The child is
forked before drgn and numpy are imported, so nothing is done twice; subprocess and multiprocessing
would start a new Python. Signals end parent and child: the kernel kills the child when its parent
ends, even inside C code.
"""

import gc
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TypeVar

from ..errors import Exit, PageInspectError
from ..host import progress
from ..host.processes import fork, kill_with_parent
from ..host.terminal import write

_LEAST_MEMORY = 4 << 30

_CRASHES = frozenset(
    (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP)
)
_DAMAGED = "the core is damaged or cut off: compare its size and checksum with the original"
_DAMAGED_DATASET = "the dataset is damaged: copy it again from where it comes from"
_CHANGED = "the guest's memory changed while it was read, or is damaged: try --pause"

# An OSError that comes from here is about the report, not about the core.
_WRITERS = ("render/", "cli/")

T = TypeVar("T")


def run_isolated(
    task: Callable[[], int], core: Path | None, *, until_interrupt: bool = False
) -> int:
    """Run `task`, which reads `core` (or a guest), in a limited child; return its status.

    None is this kernel. With `until_interrupt` the task ends at Ctrl-C, for which it has a handler
    of its own. Raises PageInspectError when a crash or a limit ends the child.
    """
    # waitpid() fails if SIGCHLD is ignored, which is inherited from the parent.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    parent = os.getpid()
    # Exclude the objects that exist now from garbage collection in both processes.
    gc.freeze()
    child = fork()
    if child == 0:
        _run_child(task, parent)
    if until_interrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _, ended = os.waitpid(child, 0)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        raise
    status = os.waitstatus_to_exitcode(ended)
    if status >= 0:
        return status
    if sys.stderr is not None and sys.stderr.isatty():
        # The child may have left a progress bar.
        write("\r\x1b[K")
    raise error_of_signal(signal.Signals(-status), core)


def _run_child(task: Callable[[], int], parent: int) -> NoReturn:
    status: int = Exit.ERROR
    try:
        limit(parent)
        status = task()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else Exit.ERROR
    except Exception:  # noqa: BLE001 - nobody is left to report it in another way
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def limit(parent: int) -> None:
    """In a forked child: end with the parent, and limit memory and CPU time without progress."""
    kill_with_parent(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = memory_limit()
    if most == resource.RLIM_INFINITY or wanted < most:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, most))
    progress.watch()


def memory_limit() -> int:
    """Return the bytes of memory that reading a core may take: half of this machine's."""
    half = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return max(half, _LEAST_MEMORY)


def _hint(core: Path | None) -> str:
    if core is None:
        return "this kernel changed while it was read: try again"
    if core.is_dir():
        return _DAMAGED_DATASET
    return _CHANGED if core.is_socket() else _DAMAGED


def error_of_signal(by: signal.Signals, core: Path | None) -> PageInspectError:
    """Return the error for a child that a signal ended."""
    what = core or "this kernel"
    if by in _CRASHES:
        return PageInspectError(f"the libraries that read {what} crashed ({by.name})", _hint(core))
    if by == signal.SIGPROF:
        return PageInspectError(
            f"no progress for {progress.STALL_TIMEOUT_S} s of CPU time while reading {what}",
            _hint(core),
        )
    if by == signal.SIGKILL:
        return PageInspectError(
            f"the process that read {what} was killed",
            "did this machine run out of memory? see its kernel log",
        )
    raise SystemExit(128 + by)


def explain_errors(task: Callable[[], T], core: Path | None, given: Sequence[Path] = ()) -> T:
    """Return task(), and turn any exception into a PageInspectError.

    A damaged core can contain anything, so reading it, or the `given` files with types and symbols,
    can raise anything. `core` is None for this kernel.
    """
    try:
        return task()
    except PageInspectError:
        raise
    except MemoryError:
        raise PageInspectError(
            f"reading {core or 'this kernel'} takes more than {memory_limit() >> 20} MiB of memory",
            _hint(core),
        ) from None
    except Exception as error:
        place = _place(error)
        if isinstance(error, OSError) and place.startswith(_WRITERS):
            raise
        said = (str(error) or "no details").splitlines()[0]
        what, hint = str(core or "this kernel"), _hint(core)
        if given:
            files = " and ".join(map(str, given))
            what, hint = (
                f"{what} with {files}",
                f"check that {files} is complete and of the same build",
            )
        raise PageInspectError(
            f"{what} cannot be decoded: {said} ({type(error).__name__}, {place})",
            f"{hint}; otherwise please report this line",
        ) from None


def _place(error: BaseException) -> str:
    """Return the innermost FILE:LINE of this package that an error passed through."""
    place, step, package = "", error.__traceback__, Path(__file__).parent.parent
    while step is not None:
        file = Path(step.tb_frame.f_code.co_filename)
        if file.is_relative_to(package):
            place = f"{file.relative_to(package)}:{step.tb_lineno}"
        step = step.tb_next
    return place
