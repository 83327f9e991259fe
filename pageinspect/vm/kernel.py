# SPDX-License-Identifier: GPL-2.0-only
"""Kernels ready to boot: built from the archive's packages, or from a developer's own files."""

import json
import shutil
import subprocess
import tarfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

from ..errors import PageInspectError
from ..host.files import point, read_trusted, write_trusted
from . import cache, catalogue, initrd, packages, tools
from .debian import Archive
from .errors import BuildError
from .progress import Progress, silent
from .root import SMALL_SQUASHFS

_METADATA = "kernel.json"

# Part of the cache key: incremented when the output of this module changes.
_FORMAT = 1


@dataclass(frozen=True)
class BuiltKernel:
    """A kernel in the cache. Paths are absolute; `disk` is None for a kernel without modules."""

    name: str
    release: str
    vmlinuz: Path
    modules_cpio: Path | None
    disk: Path | None
    """squashfs with /usr/lib/modules/RELEASE, and the headers for its `build` if `has_headers`."""
    has_headers: bool = False
    vmlinux: Path | None = None
    """vmlinux with DWARF, where debug information was asked for."""

    @property
    def size(self) -> int:
        """Size of all its files in bytes."""
        return sum(path.stat().st_size for path in self.vmlinuz.parent.iterdir())


def all_kernels() -> list[catalogue.Kernel]:
    """Return the kernels of the catalogue, and others that are built."""
    known = catalogue.kernels()
    found = {kernel.name: kernel for kernel in known.values()}
    for path in sorted(cache.folder("kernels").glob(f"*/current/{_METADATA}")):
        metadata = _read_metadata(path)
        kernel = catalogue.kernel_of(metadata["suite"], metadata["series"])
        found.setdefault(kernel.name, kernel)
    return list(found.values())


_TEXTS = ("release", "suite", "series", "recipe")


def _read_metadata(path: Path) -> dict[str, Any]:
    """Return what is known of a built kernel. Raises FileNotFoundError, and PageInspectError."""
    try:
        metadata = json.loads(read_trusted(path))
        sound = all(isinstance(metadata[key], str) for key in _TEXTS)
        sound = sound and isinstance(metadata["has_headers"], bool)
    except (FileNotFoundError, PageInspectError):
        raise
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        sound = False
    if not sound:
        folder = path.parent.resolve()
        raise PageInspectError(
            f"{path} is damaged", f"remove {folder}: pageinspect vm build makes it again"
        )
    return cast("dict[str, Any]", metadata)


def built(kernel: catalogue.Kernel) -> BuiltKernel | None:
    """Return a kernel from the cache, None when it is not there or its recipe changed."""
    current = _home(kernel) / "current"
    try:
        metadata = _read_metadata(current / _METADATA)
    except FileNotFoundError:
        return None
    if metadata["recipe"] != _recipe():
        return None
    folder = current.resolve()
    vmlinux = folder / "vmlinux"
    return BuiltKernel(
        name=kernel.name,
        release=metadata["release"],
        vmlinuz=folder / "vmlinuz",
        modules_cpio=folder / "modules.cpio",
        disk=folder / "kernel.squashfs",
        has_headers=metadata["has_headers"],
        vmlinux=vmlinux if vmlinux.exists() else None,
    )


def build(
    kernel: catalogue.Kernel,
    progress: Progress = silent,
    *,
    debuginfo: bool = False,
    refresh: bool = False,
) -> BuiltKernel:
    """Return a kernel, built from the archive if it is not in the cache (half a minute).

    `refresh` takes the archive's newest version of the series now; without it a kernel that is
    built stays as it is. Raises PageInspectError with what is missing.
    """
    ready = None if refresh else built(kernel)
    if ready is None:
        tools.require(tools.BUILD_PROGRAMS)
        with cache.locked(_home(kernel) / "current", progress):
            ready = None if refresh else built(kernel)
            if ready is None:
                ready = _build(kernel, progress)
    if debuginfo and ready.vmlinux is None:
        ready = _add_debuginfo(kernel, ready, progress)
    return ready


def _home(kernel: catalogue.Kernel) -> Path:
    return cache.folder("kernels", f"{kernel.suite}-{kernel.series}")


def _recipe() -> str:
    return catalogue.digest(_FORMAT, catalogue.recipe_digest(catalogue.initrd_recipe()))


def _build(kernel: catalogue.Kernel, progress: Progress) -> BuiltKernel:
    archive = Archive(kernel.suite, progress)
    resolved = packages.resolve(kernel, archive)
    home = _home(kernel)
    name = f"{resolved.release}-{_recipe()}"

    def fill(work: Path) -> Path:
        folder = work / "kernel"
        folder.mkdir(cache.FOLDER_MODE)
        for deb in archive.download(resolved.packages, work / "debs"):
            _extract(deb, work / "tree")
        progress(f"{kernel.name}: packing {resolved.release}")
        _pack(work, resolved.release, folder)
        metadata = {
            "release": resolved.release,
            "suite": kernel.suite,
            "series": kernel.series,
            "recipe": _recipe(),
            "has_headers": resolved.has_headers,
            "packages": [asdict(package) for package in resolved.packages],
        }
        write_trusted(folder / _METADATA, json.dumps(metadata, indent=1))
        return folder

    cache.build_once(home / name, fill, progress)
    point(home / "current", name)
    cache.prune(home, "[0-9]*", keep=1)
    ready = built(kernel)
    if ready is None:
        raise BuildError(
            f"{kernel.name} vanished from the cache", "do not clean the cache during a build"
        )
    return ready


def _extract(deb: Path, tree: Path) -> None:
    tools.run(
        ["dpkg-deb", "--extract", deb, tree],
        why=f"cannot unpack {deb.name}",
        hint="check that the disk is not full",
    )


def _pack(work: Path, release: str, folder: Path) -> None:
    """Turn the unpacked packages in work/tree into the files of a BuiltKernel."""
    tree = work / "tree"
    # Up to bookworm modules are below /lib, which is a link to /usr/lib in every merged root.
    if (tree / "lib").is_dir():
        shutil.copytree(tree / "lib", tree / "usr/lib", symlinks=True, dirs_exist_ok=True)
        cache.remove(tree / "lib")
    modules = tree / "usr/lib/modules" / release
    vmlinuz = [tree / "boot" / f"vmlinuz-{release}", modules / "vmlinuz"]
    for path in filter(Path.exists, vmlinuz):
        path.rename(folder / "vmlinuz")
    for path in (tree / "boot", tree / "usr/share", modules / "System.map"):
        cache.remove(path)
    pack_disk(work, release, folder)


def pack_disk(work: Path, release: str, folder: Path) -> None:
    """Write kernel.squashfs and modules.cpio from work/tree, with usr/lib/modules/RELEASE in it."""
    tree = work / "tree"
    link = tree / "lib"
    link.symlink_to("usr/lib")
    hint = "check that the modules belong to the kernel and that the disk is not full"
    tools.run(["depmod", "-b", tree, release], why="cannot index the modules", hint=hint)
    link.unlink()
    initrd.pack_modules(tree / "usr/lib/modules" / release, work, folder / "modules.cpio")
    tools.run(
        ["mksquashfs", tree, folder / "kernel.squashfs", "-all-root", *SMALL_SQUASHFS],
        why="cannot pack the modules",
        hint=hint,
    )


def _add_debuginfo(kernel: catalogue.Kernel, ready: BuiltKernel, progress: Progress) -> BuiltKernel:
    """Fetch vmlinux with DWARF for the very release that is built."""
    name = f"linux-image-{ready.release}-dbg"

    def fetch(work: Path) -> Path:
        archive = Archive(kernel.suite, progress)
        package = archive.packages([name]).get(name)
        if package is None:
            raise BuildError(
                f"{kernel.suite} has no debug package for {ready.release}",
                f"pageinspect vm build --refresh {kernel.name} takes the version it has now,"
                " if that one has debug information",
            )
        (deb,) = archive.download([package], work)
        progress(f"{kernel.name}: unpacking vmlinux")
        return _extract_vmlinux(deb, ready.release, work / "vmlinux")

    vmlinux = cache.build_once(ready.vmlinuz.parent / "vmlinux", fetch, progress)
    return replace(ready, vmlinux=vmlinux)


def _extract_vmlinux(deb: Path, release: str, target: Path) -> Path:
    names = (f"/vmlinux-{release}", f"/{release}/vmlinux")
    command = ["dpkg-deb", "--fsys-tarfile", str(deb)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as unpack:
        with tarfile.open(fileobj=unpack.stdout, mode="r|") as tar:
            for member in tar:
                source = tar.extractfile(member) if member.name.endswith(names) else None
                if source is not None:
                    with target.open("wb") as out:
                        shutil.copyfileobj(source, out, 1 << 20)
                    break
        unpack.kill()
    if not target.exists():
        raise BuildError(f"{deb.name} has no vmlinux", "report this: Debian moved the file")
    return target
