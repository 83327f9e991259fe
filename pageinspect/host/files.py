# SPDX-License-Identifier: GPL-2.0-only
"""Opens, creates and replaces files safely in folders where another user may have planted links.

pageinspect runs as root, also in folders of other users. A path is therefore followed one component
at a time, with openat(): a rename by another user cannot change a path between check and use.

- A link in a folder that others may write is followed only if this user or root owns it, as
  fs.protected_symlinks does in /tmp.
- The cache is used only if no other user than root can change it: `trusted` below.
- A file is replaced by a new one, which has no name until it is complete (O_TMPFILE). If this
  process is killed, nothing is left.
"""

import contextlib
import errno
import os
import signal
import stat
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from ..errors import PageInspectError
from ..units import size
from .processes import ENDING, cleanup_even_if_killed

PRIVATE = 0o600
"""The mode of a memory image."""
_PUBLIC = 0o644

_NODE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_UNNAMED = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40
_LARGEST = 4 << 20


class UntrustedError(PageInspectError):
    """Another user can change, or has changed, a file or folder that must be trusted."""


def is_ours(found: os.stat_result) -> bool:
    """Return whether this user or root is the owner."""
    return found.st_uid in (0, os.geteuid())


def writable_by_others(found: os.stat_result) -> bool:
    """Return whether a user other than this one and root may write."""
    return not is_ours(found) or bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


class Place(NamedTuple):
    """A resolved path: a name in an open folder. A file of that name need not exist."""

    folder: int
    """Descriptor of the folder, for `dir_fd`."""
    name: str
    found: os.stat_result | None
    """Status of the file, if it exists."""
    is_descriptor: bool = False
    """The name is a descriptor in /proc/self/fd, such as that of /dev/stdout."""

    @property
    def is_shared(self) -> bool:
        """Whether others may write the folder."""
        return writable_by_others(os.fstat(self.folder))

    @property
    def path(self) -> Path:
        """The path without links."""
        return Path(os.path.normpath(Path(f"/proc/self/fd/{self.folder}").readlink() / self.name))

    def open_in_place(self, flags: int) -> int:
        """Open or create the file, and return a descriptor. Raises OSError and UntrustedError.

        In a folder that others may write, this user or root must own an existing file, and it must
        have no other hard link.
        """
        flags |= os.O_CLOEXEC
        if self.is_descriptor:
            return os.open(self.name, flags & ~os.O_CREAT, dir_fd=self.folder)
        if self.found is None:
            return os.open(self.name, flags | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=self.folder)
        # Check before the open: opening a FIFO of another user could block.
        node = os.open(self.name, _NODE, dir_fd=self.folder)
        try:
            self._check(os.fstat(node))
            return os.open(f"/proc/self/fd/{node}", flags & ~os.O_CREAT)
        finally:
            os.close(node)

    def _check(self, found: os.stat_result) -> None:
        planted = not is_ours(found) or (stat.S_ISREG(found.st_mode) and found.st_nlink > 1)
        if planted and self.is_shared:
            raise UntrustedError(
                f"{self.path} was created by another user",
                "name a file in a folder that only you may write",
            )


@contextlib.contextmanager
def place_of(path: Path, *, make: bool = False) -> Iterator[Place]:
    """Give the Place of a path. Raises OSError, and UntrustedError for links of other users.

    With `make`, missing folders are created.
    """
    parts = list(path.absolute().parts[1:])
    place = _follow(path, parts, trusted=False, make=0o777 if make else 0)
    try:
        yield place
    finally:
        os.close(place.folder)


@contextlib.contextmanager
def trusted_folder(path: Path, *, make: bool = False, mode: int = 0o755) -> Iterator[int]:
    """Give a descriptor (for `dir_fd`) of a folder that only this user and root can change.

    The same must hold for all folders above it, unless they are sticky like /tmp. With `make`,
    missing folders are created with `mode`. Raises OSError, and UntrustedError if another user can
    change a folder.
    """
    place = _follow(path, [*path.absolute().parts[1:], "."], trusted=True, make=mode if make else 0)
    try:
        yield place.folder
    finally:
        os.close(place.folder)


def is_trusted(path: Path) -> bool:
    """Return whether only this user and root can write or replace the file at a path."""
    try:
        place = _follow(path, list(path.absolute().parts[1:]), trusted=True)
    except (OSError, UntrustedError):
        return False
    os.close(place.folder)
    return place.found is not None and not writable_by_others(place.found)


def _follow(path: Path, parts: list[str], *, trusted: bool, make: int = 0) -> Place:
    """Resolve a path from the root, component by component. The caller closes `Place.folder`.

    With `trusted`, all folders must be trusted. If `make` (a mode) is not 0, missing folders are
    created.
    """
    opened: list[int] = []
    keep = -1
    try:
        place = _steps(path, parts, opened, trusted=trusted, make=make)
        keep = place.folder
        return place
    finally:
        for descriptor in opened:
            if descriptor != keep:
                os.close(descriptor)


def _steps(path: Path, parts: list[str], opened: list[int], *, trusted: bool, make: int) -> Place:
    def node_of(name: str, folder: int | None, make: int = 0) -> int:
        opened.append(_open_node(name, folder, make))
        return opened[-1]

    words, links = parts[::-1] or ["."], 0
    folder = node_of("/", None)
    while True:
        name = words.pop()
        try:
            node = node_of(name, folder, make if words else 0)
        except FileNotFoundError:
            if words:
                raise
            return Place(folder, name, None)
        found = os.fstat(node)
        if stat.S_ISLNK(found.st_mode):
            if not words and _is_descriptor(name, found):
                return Place(folder, name, os.stat(name, dir_fd=folder), is_descriptor=True)
            if (links := links + 1) > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = _target(path, name, node, folder)
            words = [*words, *(word for word in target.split("/")[::-1] if word)] or ["."]
            folder = node_of("/", None) if target.startswith("/") else folder
            continue
        place = Place(folder, name, found)
        if not words:
            return place
        _check_folder(path, found, place, trusted=trusted, is_last=words == ["."])
        folder = node


def _open_node(name: str, folder: int | None, make: int) -> int:
    try:
        return os.open(name, _NODE, dir_fd=folder)
    except FileNotFoundError:
        if not make:
            raise
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, make, dir_fd=folder)
    return os.open(name, _NODE, dir_fd=folder)


def _target(path: Path, name: str, link: int, folder: int) -> str:
    """Return the target of a link. Raises UntrustedError for a link that must not be followed."""
    if writable_by_others(os.fstat(folder)) and not is_ours(os.fstat(link)):
        raise UntrustedError(
            f"{path}: {name} is a link that another user made in a folder that others may write",
            "name the file that the link leads to, if that is what you mean",
        )
    return os.readlink("", dir_fd=link)


def _is_descriptor(name: str, link: os.stat_result) -> bool:
    return name.isdigit() and link.st_dev == os.stat("/proc/self").st_dev  # noqa: PTH116


def _check_folder(
    path: Path, found: os.stat_result, place: Place, *, trusted: bool, is_last: bool
) -> None:
    """Raise OSError if this is not a folder.

    With `trusted`, raise UntrustedError if another user may change its entries. In a sticky folder
    other users cannot change entries of this user and root.
    """
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
    if not trusted:
        return
    folder = place.path
    if not is_ours(found):
        raise UntrustedError(
            f"{path} is not used: {folder} belongs to another user (uid {found.st_uid})",
            "set PAGEINSPECT_CACHE to a folder of your own, or run it with your own HOME (sudo -H)",
        )
    if writable_by_others(found) and (is_last or not found.st_mode & stat.S_ISVTX):
        raise UntrustedError(
            f"{path} is not used: others may write {folder}",
            f"chmod go-w {folder}, or set PAGEINSPECT_CACHE to another folder",
        )


@contextlib.contextmanager
def replacing(
    folder: int,
    name: str,
    *,
    mode: int | None = None,
    durable: bool = False,
    only_new: bool = False,
) -> Iterator[IO[bytes]]:
    """Give a stream that replaces the file `name` in a folder if the context ends without an error.

    The mode of the file is `mode`, or 0666 without the umask. A link of that name is replaced, not
    followed. With `durable`, the data is synced to disk first. Nothing else is left in the folder,
    even if this process is killed. Raises OSError; with `only_new` FileExistsError at the end if
    the folder has such a file.
    """
    with (
        _new_file(folder, 0o666 if mode is None else PRIVATE) as (descriptor, hidden),
        os.fdopen(descriptor, "w+b") as stream,
    ):
        yield stream
        stream.flush()
        if mode is not None:
            os.fchmod(descriptor, mode)
        if durable:
            os.fsync(descriptor)
        if hidden:
            _check_same(hidden, descriptor, folder)
            move = os.link if only_new else os.rename
            move(hidden, name, src_dir_fd=folder, dst_dir_fd=folder)
            return
        try:
            _link(descriptor, folder, name)
        except FileExistsError:
            if only_new:
                raise
            _replace(folder, name, partial(_link_checked, descriptor, folder))


@contextlib.contextmanager
def _new_file(folder: int, permissions: int) -> Iterator[tuple[int, str]]:
    """Give a descriptor of a new file in a folder, and its temporary name, "" with O_TMPFILE.

    The caller closes the descriptor. A file that still has the temporary name at the end is
    removed, by a watcher process if this one was killed.
    """
    try:
        descriptor = os.open(".", _UNNAMED, permissions, dir_fd=folder)
    except OSError:
        # NFS and others do not support O_TMPFILE. Any other error is raised again below.
        pass
    else:
        yield descriptor, ""
        return
    hidden = _hidden_name()
    with cleanup_even_if_killed(partial(_remove, folder, hidden), [folder]):
        yield os.open(hidden, _NEW, permissions, dir_fd=folder), hidden


def _hidden_name() -> str:
    return f".pageinspect.{os.urandom(8).hex()}"


def _remove(folder: int, name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=folder)


def _link(descriptor: int, folder: int, name: str) -> None:
    os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=folder)


def _link_checked(descriptor: int, folder: int, name: str) -> None:
    _link(descriptor, folder, name)
    _check_same(name, descriptor, folder)


def _replace(folder: int, name: str, make: Callable[[str], object]) -> None:
    """Call `make` with a temporary name, and rename the result to `name`.

    Signals that would end this process between the two steps are blocked.
    """
    hidden = _hidden_name()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        make(hidden)
        os.rename(hidden, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        _remove(folder, hidden)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _check_same(name: str, descriptor: int, folder: int) -> None:
    """Raise UntrustedError if the file of this name is no longer the one that is written."""
    there, ours = os.stat(name, dir_fd=folder, follow_symlinks=False), os.fstat(descriptor)
    if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
        raise UntrustedError(
            "another user replaced the file while it was written",
            "name a file in a folder that only you may write",
        )


def point(link: Path, target: str) -> None:
    """Replace a symbolic link in a trusted folder atomically."""
    with trusted_folder(link.parent) as folder:
        _replace(folder, link.name, partial(os.symlink, target, dir_fd=folder))


def write_trusted(path: Path, text: str) -> None:
    """Replace a file in a trusted folder. Raises OSError and UntrustedError."""
    with (
        trusted_folder(path.parent) as folder,
        replacing(folder, path.name, mode=_PUBLIC, durable=True) as stream,
    ):
        stream.write(text.encode())


def read_trusted(path: Path) -> str:
    """Return the text of a file that only this user and root can have written.

    Raises OSError and UntrustedError, and ValueError if it is not text or is too long.
    """
    with trusted_folder(path.parent) as folder, os.fdopen(_open_own(path, folder)) as stream:
        text = stream.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        raise ValueError(path)
    return text


def read_whole(path: Path, most: int) -> bytes:
    """Return the content of a file of any owner; raises OSError, also above `most` bytes."""
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it is longer than {size(most)}")
    return data


def names_in(folder: int, suffix: str) -> list[str]:
    """Return the names in an open folder that end with a suffix. Raises OSError."""
    listing = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return [name for name in os.listdir(listing) if name.endswith(suffix)]  # noqa: PTH208
    finally:
        os.close(listing)


def forget_oldest(folder: int, names: Iterable[str], most: int) -> None:
    """Remove those files in an open folder that were written longest ago. Raises OSError.

    The `most` that were written last are kept.
    """
    written = {
        name: os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime_ns for name in names
    }
    for name in sorted(written, key=lambda name: written[name], reverse=True)[most:]:
        os.unlink(name, dir_fd=folder)


@contextlib.contextmanager
def lock_file(path: Path) -> Iterator[int]:
    """Give a descriptor of a lock file in a trusted folder; the file is created if missing.

    Raises OSError and UntrustedError.
    """
    with trusted_folder(path.parent) as folder:
        descriptor = _open_own(path, folder, os.O_CREAT)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_own(path: Path, folder: int, flags: int = 0) -> int:
    flags |= os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path.name, flags, PRIVATE, dir_fd=folder)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise UntrustedError(f"{path} is a link", "remove it") from None
    found = os.fstat(descriptor)
    problem = None
    if not stat.S_ISREG(found.st_mode):
        problem = UntrustedError(f"{path} is not a file", "remove it")
    elif writable_by_others(found):
        problem = UntrustedError(
            f"{path} is not used: another user may have written it",
            f"remove it, or chmod go-w {path}",
        )
    if problem is not None:
        os.close(descriptor)
        raise problem
    return descriptor
