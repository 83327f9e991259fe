"""Opens, makes and replaces files where another user may have prepared links.

pageinspect runs as root over folders of other users. So a path is followed one component at a time,
each opened below the one before it: what is checked is what is used, whatever is renamed meanwhile.

- A link in a folder that others may write is followed only if this user or root owns it, which is
  what the kernel does in /tmp (fs.protected_symlinks).
- The cache is used only if nobody but this user and root can change it: `trusted` below.
- A file is replaced by a new one. That has no name until it is whole (O_TMPFILE), so nothing is
  left of it when this process is killed.
"""

import contextlib
import errno
import os
import signal
import stat
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from ..errors import PageInspectError
from ..units import size
from .processes import ENDING, even_if_killed

PRIVATE = 0o600
"""The mode of a memory image."""
_PUBLIC = 0o644

_NODE = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_UNNAMED = os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MOST_LINKS = 40
_LARGEST = 4 << 20


class UntrustedError(PageInspectError):
    """A path that is to be used is, or was, writable for another user."""


def is_ours(found: os.stat_result) -> bool:
    """Return whether this user or root owns something."""
    return found.st_uid in (0, os.geteuid())


def others_write(found: os.stat_result) -> bool:
    """Return whether a user other than this one and root may write something."""
    return not is_ours(found) or bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


class Place(NamedTuple):
    """Where a path leads: a name in a folder. There need not be a file of that name."""

    folder: int
    """Descriptor of the folder, for `dir_fd`."""
    name: str
    found: os.stat_result | None
    """Of the file, if there is one."""
    is_descriptor: bool = False
    """It is /proc/self/fd/N, as which /dev/stdout appears."""

    @property
    def is_shared(self) -> bool:
        """Whether others may write the folder."""
        return others_write(os.fstat(self.folder))

    @property
    def path(self) -> Path:
        """Its path without links."""
        return Path(os.path.normpath(Path(f"/proc/self/fd/{self.folder}").readlink() / self.name))

    def open_in_place(self, flags: int) -> int:
        """Open the file that is there, or make it, and return a descriptor. Raises OSError.

        In a folder that others may write it must be this user's or root's own, under this one name.
        """
        flags |= os.O_CLOEXEC
        if self.is_descriptor:
            return os.open(self.name, flags & ~os.O_CREAT, dir_fd=self.folder)
        if self.found is None:
            return os.open(self.name, flags | os.O_EXCL | os.O_NOFOLLOW, 0o666, dir_fd=self.folder)
        # Checked before it is opened: to open a FIFO of another user could block.
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
                f"{self.path} was put there by another user",
                "name a file in a folder that only you may write",
            )


@contextlib.contextmanager
def place_of(path: Path) -> Iterator[Place]:
    """Give the place that a path leads to. Raises OSError, and UntrustedError for planted links."""
    place = _follow(path, list(path.absolute().parts[1:]), trusted=False)
    try:
        yield place
    finally:
        os.close(place.folder)


@contextlib.contextmanager
def trusted_folder(path: Path, *, make: bool = False, mode: int = 0o755) -> Iterator[int]:
    """Give a descriptor of a folder that nobody but this user and root can change, for `dir_fd`.

    Every folder above it is the same, or sticky like /tmp. With `make`, folders that are not there
    are made. Raises OSError, and UntrustedError for a folder that is not of this kind.
    """
    place = _follow(path, [*path.absolute().parts[1:], "."], trusted=True, make=mode if make else 0)
    try:
        yield place.folder
    finally:
        os.close(place.folder)


def only_ours(path: Path) -> bool:
    """Return whether nobody but this user and root may write or replace what a path leads to."""
    try:
        place = _follow(path, list(path.absolute().parts[1:]), trusted=True)
    except (OSError, UntrustedError):
        return False
    os.close(place.folder)
    return place.found is not None and not others_write(place.found)


def _follow(path: Path, parts: list[str], *, trusted: bool, make: int = 0) -> Place:
    """Follow the components of a path from the root; the folder's descriptor is the caller's.

    With `trusted`, each folder must be; with `make`, a mode, those that are missing are made.
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
            if (links := links + 1) > _MOST_LINKS:
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
    """Return the target of a link. Raises UntrustedError for a link that is not followed."""
    if others_write(os.fstat(folder)) and not is_ours(os.fstat(link)):
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
    """Raise OSError for what is not a folder.

    With `trusted`, raise UntrustedError for one whose entries another user may change. In a sticky
    folder other users cannot change the entries of this user and root.
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
    if others_write(found) and (is_last or not found.st_mode & stat.S_ISVTX):
        raise UntrustedError(
            f"{path} is not used: others may write {folder}",
            f"chmod go-w {folder}, or set PAGEINSPECT_CACHE to another folder",
        )


@contextlib.contextmanager
def replacing(
    folder: int, name: str, *, mode: int | None = None, durable: bool = False
) -> Iterator[IO[bytes]]:
    """Give a stream whose content is the file `name` in a folder when the context ends well.

    The file gets `mode`, or what the umask leaves. A link of that name is replaced, not followed.
    `durable` is for what must be whole after a power cut. Nothing else is left in the folder, even
    if this process is killed. Raises OSError.
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
            os.rename(hidden, name, src_dir_fd=folder, dst_dir_fd=folder)
            return
        try:
            _link(descriptor, folder, name)
        except FileExistsError:
            _replace(folder, name, partial(_link_checked, descriptor, folder))


@contextlib.contextmanager
def _new_file(folder: int, permissions: int) -> Iterator[tuple[int, str]]:
    """Give the descriptor of a new file in a folder, and its name: "" where it needs none.

    The descriptor is the caller's. A file that still has the name at the end is removed, by another
    process if this one was killed.
    """
    try:
        descriptor = os.open(".", _UNNAMED, permissions, dir_fd=folder)
    except OSError:
        # NFS and others have no files without a name. Any other error comes again below.
        pass
    else:
        yield descriptor, ""
        return
    hidden = _hidden_name()
    with even_if_killed(partial(_remove, folder, hidden), [folder]):
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
    """Let what `make` makes under the name that it is given take the place of a name.

    Signals that would end this process between the two steps are held back.
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
    """Raise UntrustedError when another file has taken the place of the one that is written."""
    there, ours = os.stat(name, dir_fd=folder, follow_symlinks=False), os.fstat(descriptor)
    if (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
        raise UntrustedError(
            "another user replaced the file while it was written",
            "name a file in a folder that only you may write",
        )


def point(link: Path, target: str) -> None:
    """Make a symbolic link in a trusted folder lead to `target`, at one instant."""
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

    Raises OSError, and UntrustedError; ValueError for what is not text, or too long.
    """
    with trusted_folder(path.parent) as folder, os.fdopen(_open_own(path, folder)) as stream:
        text = stream.read(_LARGEST + 1)
    if len(text) > _LARGEST:
        raise ValueError(path)
    return text


def read_whole(path: Path, most: int) -> bytes:
    """Return the content of a file of `most` bytes at most, whoever owns it; raises OSError."""
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it is longer than {size(most)}")
    return data


@contextlib.contextmanager
def lock_file(path: Path) -> Iterator[int]:
    """Give a descriptor of a lock file in a trusted folder, made if it is not there.

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
    elif others_write(found):
        problem = UntrustedError(
            f"{path} is not used: another user may have written it",
            f"remove it, or chmod go-w {path}",
        )
    if problem is not None:
        os.close(descriptor)
        raise problem
    return descriptor
