# SPDX-License-Identifier: GPL-2.0-only
"""The user's cache folder, and building things in it once.

Only this user and root may be able to change it or any folder above it, because its content is
booted, and read by apt and mmdebstrap as root. So a path in it does not change between check and
use.

An artefact is a file or a folder. It is built beside its final name and renamed when complete,
under its own lock: an interrupted build leaves nothing under the final name, and of two concurrent
builds only one does the work. A watcher process removes what a killed build left; after a power
cut, the next build does.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import PageInspectError
from ..host import files
from ..host.processes import cleanup_even_if_killed
from ..paths import cache_folder
from .progress import Progress, silent


def folder(*parts: str) -> Path:
    """Return a folder below $PAGEINSPECT_CACHE or the XDG cache home, made if it is not there.

    Raises PageInspectError when it cannot be made, or another user could change it.
    """
    path = cache_folder().joinpath(*parts)
    try:
        path = path.absolute()
        with files.trusted_folder(path, make=True):
            return path
    except OSError as error:
        raise PageInspectError(
            f"cannot make the cache folder {path}: {error.strerror}",
            "set PAGEINSPECT_CACHE to a folder that you can write to",
        ) from error


_WORK = ".building"
_TIMEOUT_S = 20.0
"""How long the programs of a build may take to end, as in tools.py."""
_POLL_S = 0.1

FOLDER_MODE = 0o755
"""Mode of folders in the cache, whatever the umask is, so that their files can be read again."""


@contextmanager
def locked(target: Path, progress: Progress = silent) -> Iterator[int]:
    """Hold the lock of an artefact, waiting for another process that builds it.

    Gives the descriptor of the lock file; the lock is held until every process has closed it.
    """
    with files.lock_file(target.parent / f".{target.name}.lock") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for another process that builds {target.name}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def build_once(target: Path, build: Callable[[Path], Path], progress: Progress = silent) -> Path:
    """Make `target` with `build` unless it exists, and return it.

    `build` is given an empty folder on the same file system, to work in; it returns the finished
    file or folder in it, which becomes `target`. The rest of that folder is removed.
    """
    if target.exists():
        return target
    with locked(target, progress) as lock:
        if not target.exists():
            work = target.parent / f".{target.name}{_WORK}"
            remove(work)
            _sweep(target.parent)
            with cleanup_even_if_killed(
                partial(remove, work), [lock], orphaned=partial(_remove_orphaned, work)
            ):
                work.mkdir(FOLDER_MODE)
                result = build(work)
                _flush(result)
                result.rename(target)
    return target


def _remove_orphaned(work: Path) -> None:
    """Remove the folder of a killed build, once its programs have ended."""
    end = time.monotonic() + _TIMEOUT_S
    while work.exists() and time.monotonic() < end:
        with suppress(OSError):
            remove(work)
            return
        time.sleep(_POLL_S)


def _sweep(where: Path) -> None:
    """Remove folders of interrupted builds: those whose lock is free."""
    for work in where.glob(f".*{_WORK}"):
        with files.lock_file(where / f"{work.name.removesuffix(_WORK)}.lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            remove(work)


def _flush(path: Path) -> None:
    """Write a finished artefact to disk, so that a power cut does not leave an empty one."""
    for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if each.is_file() and not each.is_symlink():
            with each.open("rb") as file:
                os.fsync(file.fileno())


def remove(path: Path) -> None:
    """Remove a file or a folder, if there is one; another process may remove it as well."""

    def unless_gone(_function: object, _path: str, raised: tuple[object, Any, object]) -> None:
        if not isinstance(raised[1], FileNotFoundError):
            raise raised[1]

    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, onerror=unless_gone)
    else:
        path.unlink(missing_ok=True)


def prune(where: Path, pattern: str, keep: int) -> None:
    """Remove all but the `keep` newest entries of a folder that match the pattern."""
    dated = []
    for path in where.glob(pattern):
        try:
            dated.append((path.stat().st_mtime_ns, path))
        except FileNotFoundError:
            continue  # another process prunes as well
    for _, path in sorted(dated, reverse=True)[keep:]:
        remove(path)
