# SPDX-License-Identifier: GPL-2.0-only
"""Writes the core of a guest and the folder beside it, for -o."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ..errors import PageInspectError
from ..host import files

_HINT = "choose a folder that you can write to"


@contextlib.contextmanager
def writing_core(path: Path, mode: int | None = None) -> Iterator[IO[bytes]]:
    """Give a stream that becomes the file `path` when the context ends without an error.

    Only this user may read it, unless `mode` says otherwise. Raises PageInspectError.
    """
    mode = files.PRIVATE if mode is None else mode
    with cannot_write(path), files.place_of(path) as place:
        _check_file(path, place)
        with files.replacing(place.folder, place.name, mode=mode) as stream:
            yield stream


def _check_file(path: Path, place: files.Place) -> None:
    if place.found is not None and not stat.S_ISREG(place.found.st_mode):
        raise PageInspectError(f"cannot write {path}: it exists and is not a regular file", _HINT)


def folder_of_kdump(core: Path) -> Path:
    """Return the folder that a kdump will be written to, with links in its path followed.

    Raises PageInspectError when the core or the folder beside it cannot be written.
    """
    with cannot_write(core), files.place_of(core) as place:
        _check_file(core, place)
        with contextlib.suppress(FileNotFoundError):
            os.close(_open_beside(place))
        return place.path.parent


@contextlib.contextmanager
def folder_beside(core: Path) -> Iterator[tuple[Path, int]]:
    """Give the path and a descriptor of the folder CORE.kernel, made if it is not there.

    It is beside the file that the path resolves to. Raises OSError, and UntrustedError for a folder
    that another user could change.
    """
    with files.place_of(core) as place:
        path = _beside(place)
        with contextlib.suppress(FileExistsError):
            os.mkdir(path.name, 0o755, dir_fd=place.folder)
        folder = _open_beside(place)
    try:
        yield path, folder
    finally:
        os.close(folder)


def _beside(place: files.Place) -> Path:
    return place.path.with_name(f"{place.name}.kernel")


def _open_beside(place: files.Place) -> int:
    path = _beside(place)
    try:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        folder = os.open(path.name, flags, dir_fd=place.folder)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise files.UntrustedError(f"{path} is not a folder", "remove it") from None
    if files.writable_by_others(os.fstat(folder)):
        os.close(folder)
        raise files.UntrustedError(
            f"{path} is a folder that another user can change", "name another core: -o FILE"
        )
    return folder


@contextlib.contextmanager
def cannot_write(path: Path) -> Iterator[None]:
    """Turn an OSError in this context into the error for a file that cannot be written."""
    try:
        yield
    except OSError as error:
        raise PageInspectError(f"cannot write {path}: {error.strerror}", _HINT) from error
