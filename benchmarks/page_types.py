# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own page-types tool, built from the distribution's source of a kernel."""

import subprocess
import tarfile
from pathlib import Path, PurePath

from pageinspect.vm import cache, tools
from pageinspect.vm.catalogue import Kernel
from pageinspect.vm.debian import Archive
from pageinspect.vm.errors import BuildError
from pageinspect.vm.kernel import BuiltKernel
from pageinspect.vm.packages import series_of
from pageinspect.vm.progress import Progress, silent

_FOLDERS = (("tools", "mm"), ("tools", "vm"), ("tools", "lib"), ("tools", "include"), ("include",))
"""Folders of the source with page-types (in tools/vm before 6.3) and what it includes."""


def page_types(kernel: Kernel, ready: BuiltKernel, progress: Progress = silent) -> Path:
    """Return the tool for a kernel that is built, as a static program kept beside it."""

    def build(work: Path) -> Path:
        name = f"linux-source-{series_of(ready.release)}"
        archive = Archive(kernel.suite, progress)
        package = archive.packages([name]).get(name)
        if package is None:
            raise BuildError(f"{kernel.suite} has no {name}", "pageinspect vm build --refresh")
        (deb,) = archive.download([package], work / "debs")
        _extract(deb, work / "linux")
        return _compile(work / "linux", work / "page-types")

    return cache.build_once(ready.vmlinuz.parent / "page-types", build, progress)


def _extract(deb: Path, target: Path) -> None:
    """Unpack the parts of the source that are needed: it is an archive in the package."""
    command = ["dpkg-deb", "--fsys-tarfile", str(deb)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as unpack,
        tarfile.open(fileobj=unpack.stdout, mode="r|") as outer,
    ):
        source = next(member for member in outer if member.name.endswith(".tar.xz"))
        with tarfile.open(fileobj=outer.extractfile(source), mode="r|xz") as inner:
            for member in inner:
                parts = PurePath(member.name).parts[1:]
                if member.isfile() and any(parts[: len(of)] == of for of in _FOLDERS):
                    member.name = str(PurePath(*parts))
                    inner.extract(member, target, filter="data")
        unpack.kill()


def _compile(linux: Path, target: Path) -> Path:
    source = next(linux.glob("tools/*/page-types.c"))
    api = linux / "tools/lib/api"
    command: list[str | Path] = ["gcc", "-O2", "-static", "-pthread", "-w", "-D_GNU_SOURCE"]
    for folder in (linux / "tools/lib", api, linux / "tools/include"):
        command += ["-I", folder]
    command += ["-o", target, source, api / "fs/fs.c", api / "debug.c"]
    tools.run(command, why="cannot build page-types", hint="apt-get install gcc libc6-dev")
    return target
