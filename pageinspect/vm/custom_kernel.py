# SPDX-License-Identifier: GPL-2.0-only
"""Packs a developer's own kernel: a bzImage and, optionally, its modules.

The modules are copied before any program reads them: files are opened relative to the folder that
was checked, and links are not followed. Root accepts only files that no other user can change.
"""

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import PageInspectError, UsageError
from ..host import files
from . import cache, catalogue, tools
from .kernel import BuiltKernel, pack_disk
from .progress import Progress, silent

_KEPT = 3
_KINDS = (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK)


def custom_kernel(vmlinuz: Path, modules: Path | None, progress: Progress = silent) -> BuiltKernel:
    """Return a BuiltKernel for these files; modules are packed again when they changed.

    `modules` is lib/modules/RELEASE, or a folder that contains it, such as INSTALL_MOD_PATH. Raises
    UsageError for paths without a kernel or modules.
    """
    if not vmlinuz.is_file():
        raise UsageError(f"{vmlinuz} is not a kernel", "give the bzImage, arch/x86/boot/bzImage")
    with _reading(vmlinuz), files.place_of(vmlinuz) as place:
        _check_owner(vmlinuz, os.stat(place.name, dir_fd=place.folder, follow_symlinks=False))
    name = vmlinuz.name
    if modules is None:
        return BuiltKernel(name, "unknown", vmlinuz.absolute(), None, None)
    folder = find_modules(modules)
    home = cache.folder("kernels", "own")
    recipe = catalogue.initrd_recipe()

    def fill(work: Path) -> Path:
        tools.require(tools.BUILD_PROGRAMS)
        progress(f"packing the modules of {folder.name}")
        target = work / "kernel"
        target.mkdir()
        _copy(folder, work / "tree/usr/lib/modules" / folder.name)
        pack_disk(work, folder.name, target)
        return target

    key = catalogue.digest(catalogue.recipe_digest(recipe), folder.name, _state(folder))
    packed = cache.build_once(home / f"{folder.name}-{key}", fill, progress)
    packed.touch()
    cache.prune(home, "[0-9]*", keep=_KEPT)
    return BuiltKernel(
        name,
        folder.name,
        vmlinuz.absolute(),
        packed / "modules.cpio",
        packed / "kernel.squashfs",
    )


def find_modules(modules: Path) -> Path:
    """Return the folder lib/modules/RELEASE at or below a path, with links resolved.

    Raises UsageError, and UntrustedError for the link of another user.
    """
    found = [modules] if _is_release(modules) else []
    for inside in ("lib/modules", "usr/lib/modules"):
        if not found and (modules / inside).is_dir():
            found = [path for path in sorted((modules / inside).iterdir()) if _is_release(path)]
    if not found:
        raise UsageError(
            f"{modules} has no modules",
            "name the INSTALL_MOD_PATH of `make modules_install`, or its lib/modules/RELEASE",
        )
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise UsageError(f"{modules} has the modules of {names}", "give the folder of one release")
    with files.place_of(found[0]) as place:
        return place.path


def _is_release(path: Path) -> bool:
    return (path / "kernel").is_dir() or (path / "modules.builtin").is_file()


class _Entry(NamedTuple):
    """A file, folder or link in a folder of modules."""

    path: str
    """Below the folder of modules."""
    parent: int
    """Descriptor of the folder that contains it; valid until the next entry."""
    name: str
    found: os.stat_result


def _entries(folder: Path) -> Iterator[_Entry]:
    """Yield what is in a folder of modules, folders before what is in them, and check each."""

    def refuse(error: OSError) -> None:
        raise error

    with _reading(folder), files.place_of(folder) as place:
        _check_owner(folder, os.stat(place.name, dir_fd=place.folder, follow_symlinks=False))
        walk = os.fwalk(place.name, onerror=refuse, dir_fd=place.folder)
        for where, folders, names, parent in walk:
            below = os.path.relpath(where, place.name)
            if below == ".":
                # They lead to the developer's tree, which is not in the guest.
                for listed in (folders, names):
                    listed[:] = [name for name in listed if name not in ("build", "source")]
            folders.sort()
            for name in sorted((*folders, *names)):
                found = os.stat(name, dir_fd=parent, follow_symlinks=False)
                path = os.path.normpath(f"{below}/{name}")
                if stat.S_IFMT(found.st_mode) not in _KINDS:
                    raise PageInspectError(
                        f"{folder / path} is neither a file nor a folder", "remove it"
                    )
                _check_owner(folder / path, found)
                yield _Entry(path, parent, name, found)


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
        raise PageInspectError(
            f"cannot read {path}: {what}", "check that it is whole and that you may read it"
        ) from None


def _check_owner(path: Path, found: os.stat_result) -> None:
    """As root, raise UntrustedError for a file that another user could have made."""
    # The mode of a link is 0777, but a link cannot be written.
    is_link = stat.S_ISLNK(found.st_mode)
    loose = not files.is_ours(found) if is_link else files.writable_by_others(found)
    if os.geteuid() == 0 and loose:
        raise files.UntrustedError(
            f"{path} can be changed by another user, and root would use it",
            "run this as the user who owns it, or name a copy that only root may write",
        )


def _copy(folder: Path, target: Path) -> None:
    """Copy the modules. Raises UntrustedError for a link that leads out of their folder."""
    target.mkdir(parents=True)
    links = []
    for entry in _entries(folder):
        copy = target / entry.path
        if stat.S_ISDIR(entry.found.st_mode):
            copy.mkdir()
        elif stat.S_ISLNK(entry.found.st_mode):
            copy.symlink_to(os.readlink(entry.name, dir_fd=entry.parent))
            links.append(entry.path)
        else:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            source = os.open(entry.name, flags, dir_fd=entry.parent)
            with os.fdopen(source, "rb") as read, copy.open("wb") as write:
                shutil.copyfileobj(read, write, 1 << 20)
    # Only this user can change the copy, so where its links lead can be checked now.
    inside = os.path.realpath(target)
    for path in links:
        if not Path(os.path.realpath(target / path)).is_relative_to(inside):
            raise files.UntrustedError(
                f"{folder / path} is a link that leads out of the folder of modules",
                "put the file itself in its place, or remove the link",
            )


def _state(folder: Path) -> str:
    """Return the names, sizes and times of all files in a folder, to detect a new build."""
    return json.dumps(
        [
            (entry.path, entry.found.st_size, entry.found.st_mtime_ns)
            for entry in _entries(folder)
            if not stat.S_ISDIR(entry.found.st_mode)
        ]
    )
