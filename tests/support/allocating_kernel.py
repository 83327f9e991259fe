# SPDX-License-Identifier: GPL-2.0-only
"""A kernel that keeps who allocated each page: built on this host from the source of a suite.

No kernel of Debian has page_owner or allocation tags. This one has both, everything that a guest
needs is built in, and nothing else is there, so that it is made in minutes.
"""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from pageinspect.errors import PageInspectError
from pageinspect.vm import cache, catalogue, tools
from pageinspect.vm.debian import Archive
from pageinspect.vm.errors import BuildError
from pageinspect.vm.kernel import BuiltKernel
from pageinspect.vm.progress import Progress, silent

NAME = "allocations"
COMMAND_LINE = "page_owner=on"
_SUITE, _SERIES = "trixie", "6.12"
_CONFIG = Path(__file__).parent / "data" / "allocations.config"
_PROGRAMS = {
    "bc": "bc",
    "bison": "bison",
    "flex": "flex",
    "gcc": "gcc",
    "make": "make",
    "pahole": "dwarves",
    "tar": "tar",
    "xz": "xz-utils",
}
"""Programs that the build needs, with their packages; and libelf-dev."""
_IMAGE = "arch/x86/boot/bzImage"


def allocating_kernel(progress: Progress = silent) -> BuiltKernel:
    """Return the kernel, built if it is not in the cache (some minutes of two CPUs).

    Raises PageInspectError with what is missing.
    """
    key = catalogue.digest(_SUITE, _SERIES, _CONFIG.read_bytes())
    home = cache.folder("kernels", NAME)
    target = home / f"{_SERIES}-{key}"
    if not target.exists():
        _require(_PROGRAMS)
        cache.build_once(target, lambda work: _build(work, progress), progress)
        cache.prune(home, "[0-9]*", keep=1)
    release = (target / "release").read_text().strip()
    vmlinuz, vmlinux = target / "vmlinuz", target / "vmlinux"
    return BuiltKernel(NAME, release, vmlinuz, None, None, vmlinux=vmlinux)


def _require(programs: dict[str, str]) -> None:
    missing = sorted({package for program, package in programs.items() if not tools.find(program)})
    if missing:
        raise PageInspectError(
            f"the kernel of {_CONFIG.name} cannot be built: {', '.join(missing)} are not installed",
            f"apt-get install {' '.join(missing)} libelf-dev",
        )


def _build(work: Path, progress: Progress) -> Path:
    archive = Archive(_SUITE, progress)
    name = f"linux-source-{_SERIES}"
    package = archive.packages([name]).get(name)
    if package is None:
        raise BuildError(f"{_SUITE} has no {name}", "change _SUITE and _SERIES of this recipe")
    (deb,) = archive.download([package], work)
    _run(["dpkg-deb", "--extract", deb, work / "package"])
    (tar,) = (work / "package").glob("usr/src/*.tar.xz")
    progress(f"{NAME}: unpacking {tar.name}")
    _run(["tar", "--extract", "--xz", "--file", tar, "--directory", work])
    source = work / tar.name.removesuffix(".tar.xz")
    _make(source, [f"KCONFIG_ALLCONFIG={_CONFIG}", "allnoconfig"])
    _check_options(source / ".config")
    progress(f"{NAME}: building {package.version}")
    _make(source, [f"-j{os.cpu_count() or 1}", "bzImage"])
    result = work / "kernel"
    result.mkdir(cache.FOLDER_MODE)
    shutil.copyfile(source / _IMAGE, result / "vmlinuz")
    (source / "vmlinux").rename(result / "vmlinux")
    release = (source / "include/config/kernel.release").read_text()
    (result / "release").write_text(release)
    return result


def _check_options(config: Path) -> None:
    """Raise BuildError if an option of the recipe is not in the kernel: its name has changed."""
    got = set(config.read_text().splitlines())
    wanted = [line for line in _CONFIG.read_text().splitlines() if line.startswith("CONFIG_")]
    lost = [line for line in wanted if line not in got]
    if lost:
        raise BuildError(f"this kernel has not {', '.join(lost)}", f"correct {_CONFIG.name}")


def _make(source: Path, arguments: Sequence[str]) -> None:
    # Its own -j is not to be that of the make that this may run in.
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS")}
    _run(["make", "-s", "-C", source, *arguments], environment)


def _run(command: Sequence[str | Path], environment: dict[str, str] | None = None) -> None:
    tools.run(
        command,
        why=f"cannot build the kernel of {_CONFIG.name}",
        hint="check that the packages of `make test-all` are there and the disk is not full",
        env=environment,
    )
