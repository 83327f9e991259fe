# SPDX-License-Identifier: GPL-2.0-only
"""Locks of a dataset: between writers of one host, and between what merges or removes snapshots.

One file has all locks, a byte for each (locks of an open file, which NFS has too). They end with
the process.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from ..errors import PageInspectError
from ..host import files
from ..model.snapshot import HEADER
from ..units import printable
from .paths import MARK

_WHOLE = 0
"""The byte of the lock for merging and removing."""


@contextlib.contextmanager
def writing(dataset: Path, host: str) -> Iterator[None]:
    """Hold the lock of a host, for which this waits; the dataset is created if it is missing.

    Raises OSError, and PageInspectError for a folder of other things.
    """
    with _opened(dataset, make=True) as descriptor:
        _lock(descriptor, fcntl.F_WRLCK, _byte_of(host), wait=True)
        yield


@contextlib.contextmanager
def try_writing(dataset: Path, host: str) -> Iterator[bool]:
    """Give whether this process now has the lock of a host. Raises OSError."""
    with _opened(dataset) as descriptor:
        yield _try_lock(descriptor, fcntl.F_WRLCK, _byte_of(host))


@contextlib.contextmanager
def changing(dataset: Path, *, shared: bool = False) -> Iterator[bool]:
    """Give whether this process now has the lock for merging and removing. Raises OSError.

    With `shared`, others may have a shared lock too.
    """
    with _opened(dataset) as descriptor:
        yield _try_lock(descriptor, fcntl.F_RDLCK if shared else fcntl.F_WRLCK, _WHOLE)


def _byte_of(host: str) -> int:
    return 1 + int.from_bytes(hashlib.sha256(host.encode()).digest()[:7])


def _try_lock(descriptor: int, kind: int, byte: int) -> bool:
    try:
        _lock(descriptor, kind, byte, wait=False)
    except BlockingIOError:
        return False
    return True


def _lock(descriptor: int, kind: int, byte: int, *, wait: bool) -> None:
    command = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
    fcntl.fcntl(descriptor, command, struct.pack("hhqqi4x", kind, os.SEEK_SET, byte, 1, 0))


@contextlib.contextmanager
def _opened(dataset: Path, *, make: bool = False) -> Iterator[int]:
    descriptor = _open(dataset, make=make)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open(dataset: Path, *, make: bool) -> int:
    with files.place_of(dataset / MARK, make=make) as place:
        if place.found is None:
            _check_folder(dataset, place.folder)
        try:
            return place.open_in_place(os.O_RDWR | os.O_CREAT)
        except FileExistsError:
            # Another process has just created it.
            return os.open(place.name, os.O_RDWR | os.O_NOFOLLOW, dir_fd=place.folder)


def check_folder(dataset: Path) -> None:
    """Raise an error if writing() would: OSError, or PageInspectError for other things.

    Nothing is created.
    """
    try:
        with files.place_of(dataset / MARK) as place:
            if place.found is None:
                _check_folder(dataset, place.folder)
                _check_access(dataset, ".", os.W_OK | os.X_OK, place.folder)
            else:
                _check_access(dataset, place.name, os.R_OK | os.W_OK, place.folder)
    except FileNotFoundError:
        above = next(path for path in dataset.absolute().parents if path.exists())
        if not above.is_dir():
            raise NotADirectoryError(
                errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(dataset)
            ) from None
        _check_access(dataset, above, os.W_OK | os.X_OK)


def _check_access(dataset: Path, path: str | Path, mode: int, folder: int | None = None) -> None:
    if not os.access(path, mode, dir_fd=folder):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(dataset))


def _check_folder(dataset: Path, folder: int) -> None:
    """Raise PageInspectError if a folder without a mark has other things than a dataset."""
    descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
    try:
        with os.scandir(descriptor) as found:
            names = {entry.name for entry in found}
    finally:
        os.close(descriptor)
    if names - {MARK} and HEADER not in names:
        raise PageInspectError(
            f"{printable(str(dataset))} is not a dataset, and not empty",
            "name a new or empty folder, or one that snapshots were written to",
        )
