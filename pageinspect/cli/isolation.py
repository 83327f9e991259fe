"""Reads a core in a child process, because a core can bring down whoever reads it.

drgn, libelf and libkdumpfile are C, and a file that is damaged or made to harm may crash them, keep
them computing, or have them ask for all memory. So a command on a core runs in a child with limits:
of memory, and of CPU time without progress. What ends the child becomes one line and a hint here.
The child is forked before drgn and numpy are imported, so nothing is done twice; subprocess and
multiprocessing would start Python anew. Signals end parent
and child at once: the kernel kills the child when its parent ends, even in the middle of C code.
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
from ..host.processes import end_with_parent
from ..host.terminal import write

_LEAST_MEMORY = 4 << 30

_CRASHES = frozenset(
    (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP)
)
_DAMAGED = "the core is damaged or cut off: compare its size and checksum with the original"
_CHANGED = "the guest's memory changed while it was read, or is damaged: try --pause"

# An OSError that comes from here is about the report, not about the core.
_WRITERS = ("render/", "cli/")

T = TypeVar("T")


def run_isolated(task: Callable[[], int], core: Path) -> int:
    """Run `task`, which reads `core` (or a guest), in a limited child; return its status.

    Raises PageInspectError when the child ends in another way.
    """
    # If the parent of this process ignored it, waitpid() would fail.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    parent = os.getpid()
    # Neither process needs to search the objects that exist now for garbage.
    gc.freeze()
    child = os.fork()
    if child == 0:
        _run_child(task, parent)
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
    raise _error_of_signal(signal.Signals(-status), core)


def _run_child(task: Callable[[], int], parent: int) -> NoReturn:
    status: int = Exit.ERROR
    try:
        _limit(parent)
        status = task()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else Exit.ERROR
    except Exception:  # noqa: BLE001 - nobody is left to report it in another way
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _limit(parent: int) -> None:
    end_with_parent(parent)
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
    return _CHANGED if core.is_socket() else _DAMAGED


def _error_of_signal(by: signal.Signals, core: Path) -> PageInspectError:
    """Return the error for a child that a signal ended."""
    if by in _CRASHES:
        return PageInspectError(
            f"{core} made the libraries that read it crash ({by.name})", _hint(core)
        )
    if by == signal.SIGPROF:
        return PageInspectError(
            f"no progress for {progress.PATIENCE_S} s of CPU time while reading {core}",
            _hint(core),
        )
    if by == signal.SIGKILL:
        return PageInspectError(
            f"the process that read {core} was killed",
            "did this machine run out of memory? see its kernel log",
        )
    raise SystemExit(128 + by)


def explain_errors(task: Callable[[], T], core: Path | None, given: Sequence[Path] = ()) -> T:
    """Return task(); raise what a damaged core makes of it as a PageInspectError.

    A damaged core can hold anything, so reading it, or the files with types and symbols that are
    `given`, can raise any error. `core` is None for this kernel.
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
            what, hint = f"{what} with {files}", f"is {files} whole, and of the very same build?"
        raise PageInspectError(
            f"{what} cannot be decoded: {said} ({type(error).__name__}, {place})",
            f"{hint}; otherwise please report this line",
        ) from None


def _place(error: BaseException) -> str:
    """Return where in this package an error was raised, or passed through last."""
    place, step, package = "", error.__traceback__, Path(__file__).parent.parent
    while step is not None:
        file = Path(step.tb_frame.f_code.co_filename)
        if file.is_relative_to(package):
            place = f"{file.relative_to(package)}:{step.tb_lineno}"
        step = step.tb_next
    return place
