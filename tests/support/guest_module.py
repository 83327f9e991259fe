# SPDX-License-Identifier: GPL-2.0-only
"""The test modules of programs/module, built for kernels against their own headers.

They are built on the host, in a throw-away root of the guests' suite: that has compilers that know
the kernels' options, and kbuild's own programs run there. Under emulation the same takes minutes.
"""

import os
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from places import PROGRAMS

from pageinspect.vm import cache, catalogue, debian, tools
from pageinspect.vm.guest import Guest
from pageinspect.vm.kernel import BuiltKernel

FREES, LEAKS, LIVES, SPREADS = "free_pages_wrongly", "leak_pages", "page_lives", "spread_pages"
TAKES = "leak_by_callers"
MODULES = FREES, LEAKS, LIVES, SPREADS, TAKES
"""The modules by name."""
_SOURCE = PROGRAMS / "module"
_PACKAGES = ("gcc", "libelf1t64", "make")
_IN = "/build"
_HEADER = "/usr/src/linux-headers-*-common/include/linux/page-flags.h"
# The suite's compiler is not always the kernel's; and BTF, which would take pahole, is not needed.
_OPTIONS = "CC=gcc CONFIG_DEBUG_INFO_BTF_MODULES= modules"


def modules(kernels: Sequence[BuiltKernel]) -> dict[str, Path]:
    """Return the folder of the modules for the release of each kernel; all are built in one go."""
    releases = sorted(kernel.release for kernel in kernels)
    sources = [path.read_bytes() for path in sorted(_SOURCE.iterdir())]
    key = catalogue.digest(*sources, _PACKAGES, _OPTIONS, releases)
    built = cache.build_once(
        cache.folder("modules") / f"modules-{key}", lambda work: _build(kernels, work)
    )
    cache.prune(built.parent, "modules-*", keep=2)
    return {release: built / release for release in releases}


def insert(guest: Guest, folder: Path, name: str) -> None:
    """Load a module of `folder` into a guest."""
    load = f"cat > /run/{name}.ko && insmod /run/{name}.ko"
    guest.run(["sh", "-c", load], input=(folder / f"{name}.ko").read_bytes())


def page_type_words(guest: Guest) -> dict[str, int]:
    """Return the page_type word of each type by its name, as the kernel's own header has them."""
    header = guest.run(["sh", "-c", f"cat {_HEADER}"]).stdout.decode()
    of_byte = {
        name: int(value, 16) << 24
        for name, value in re.findall(r"\bPGTY_(\w+)\s*=\s*(0x\w+)", header)
        if name != "mapcount_underflow"
    }
    bits = re.findall(r"^#define PG_(\w+)\s+(0x\w+)$", header, re.MULTILINE)
    return of_byte or {name: 0xFFFFFFFF & ~int(bit, 16) for name, bit in bits}


def _build(kernels: Sequence[BuiltKernel], work: Path) -> Path:
    hooks = [f'mkdir -p "$1{_IN}/out"']
    for kernel in kernels:
        inside, out = f"{_IN}/{kernel.release}", f"{_IN}/out/{kernel.release}"
        hooks += [
            f"tar-in {shlex.quote(str(_headers(kernel, work)))} /",
            f'mkdir "$1{inside}" "$1{out}"',
            *(f"copy-in {shlex.quote(str(path))} {inside}" for path in _SOURCE.iterdir()),
            f'chroot "$1" make -s -C /usr/src/linux-headers-{kernel.release} M={inside} {_OPTIONS}',
            *(f'mv "$1{inside}/{name}.ko" "$1{out}"' for name in MODULES),
        ]
    hooks.append(f"copy-out {_IN}/out {shlex.quote(str(work))}")
    # Where an interrupted build is swept from; a namespace of another user could not enter it.
    temporary = {"TMPDIR": str(work)} if os.geteuid() == 0 else {}
    tools.run(
        [
            "mmdebstrap",
            "--quiet",
            "--variant=essential",
            "--architectures=amd64",
            f"--include={','.join(_PACKAGES)}",
            f"--keyring={debian.keyring()}",
            '--aptopt=APT::Install-Recommends "false"',
            '--aptopt=Acquire::Check-Valid-Until "false"',
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--format=null",
            *(f"--customize-hook={hook}" for hook in hooks),
            catalogue.root_recipe().suite,
            "-",
            debian.mirror(),
        ],
        env={**os.environ, **temporary},
        contained=True,
        why="cannot build the test modules",
        hint="check the network",
    )
    return work / "out"


def _headers(kernel: BuiltKernel, work: Path) -> Path:
    """Return a tar archive of the kernel's headers and kbuild programs."""
    tree, tar = work / kernel.release, work / f"{kernel.release}.tar"
    wanted = ["usr/src", "usr/lib/linux-kbuild-*"]
    failure = {"why": f"cannot unpack the headers of {kernel.release}", "hint": "build it again"}
    tools.run(
        ["unsquashfs", "-quiet", "-no-xattrs", "-d", tree, str(kernel.disk), *wanted], **failure
    )
    tools.run(["tar", "--owner=0", "--group=0", "-C", tree, "-cf", tar, "usr"], **failure)
    cache.remove(tree)
    return tar
