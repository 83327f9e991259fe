# SPDX-License-Identifier: GPL-2.0-only
"""The guest root: one read-only Debian with Python, bcc and drgn, for all kernels."""

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..paths import data_folder
from . import cache, catalogue, debian, tools
from .progress import Progress, silent

_HOOK = "root-hook"
_WHEELS = "wheels.txt"

_SQUASHFS = ("-noappend", "-quiet", "-no-progress", "-comp", "zstd")
"""A kernel needs what the image names to decompress it, even if nothing of it is compressed."""
SMALL_SQUASHFS = (*_SQUASHFS, "-Xcompression-level", "3")
"""Options of a squashfs of which guests read little."""
FAST_SQUASHFS = (*_SQUASHFS, "-noI", "-noD", "-noF", "-noX")
"""Options of one of which they read much: an emulated processor takes long to decompress it."""

# Roots to keep, as source trees used side by side may have different recipes.
_KEPT = 2

# pip accepts a wheel for any of these platforms.
_PLATFORMS = ("manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64")


def root(progress: Progress = silent, packages: Sequence[str] = ()) -> Path:
    """Return the squashfs of the guest root, made if it is not there (about a minute).

    `packages` are Debian packages to add to the recipe's; such a root is a separate file.
    """
    recipe = catalogue.root_recipe()
    recipe = replace(recipe, packages=(*recipe.packages, *packages))
    kind = "larger-root" if packages else "root"
    made_from = catalogue.recipe_digest(recipe, _HOOK, _WHEELS)
    name = f"{kind}-{catalogue.digest(made_from, FAST_SQUASHFS)}.squashfs"
    path = cache.folder("root") / name
    if not path.exists():
        tools.require(tools.BUILD_PROGRAMS)
        cache.build_once(path, lambda work: _build(recipe, work, progress), progress)
        cache.prune(path.parent, f"{kind}-*.squashfs", keep=_KEPT)
    return path


def _build(recipe: catalogue.RootRecipe, work: Path, progress: Progress) -> Path:
    wheels, tar, result = work / "wheels", work / "root.tar", work / "root.squashfs"
    wheels.mkdir()
    progress(f"guest root: downloading the wheels for Python {recipe.python}")
    _install_wheels(recipe, wheels)
    progress(f"guest root: installing {recipe.suite} with {', '.join(recipe.packages)}")
    _bootstrap(recipe, work, wheels, tar)
    progress("guest root: packing")
    # From a tar archive, so that file owners do not depend on who builds.
    tools.run(
        ["mksquashfs", "-", result, "-tar", *FAST_SQUASHFS],
        why="cannot pack the guest root",
        hint="check that the disk is not full",
        stdin=tar,
    )
    return result


def _install_wheels(recipe: catalogue.RootRecipe, where: Path) -> None:
    command: list[str | Path] = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
    ]
    command += ["--disable-pip-version-check", "--target", str(where)]
    command += ["--only-binary=:all:", "--python-version", recipe.python]
    for platform in _PLATFORMS:
        command += ["--platform", platform]
    tools.run(
        [*command, "--require-hashes", "-r", data_folder("vm-images") / _WHEELS],
        why="cannot install the wheels of the guest root",
        hint="check the network and that `python -m pip` works",
    )
    cache.remove(where / "bin")


def _bootstrap(recipe: catalogue.RootRecipe, work: Path, wheels: Path, tar: Path) -> None:
    command: list[str | Path] = ["mmdebstrap", "--quiet", "--variant=minbase"]
    command += ["--architectures=amd64", f"--include={','.join(recipe.packages)}"]
    command += [f"--keyring={debian.keyring()}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in recipe.exclude]
    command += ['--aptopt=APT::Install-Recommends "false"']
    command += ['--aptopt=Acquire::Check-Valid-Until "false"']
    command += ['--setup-hook=mkdir -p "$1/opt/pageinspect"']
    # mmdebstrap splits words as a shell does.
    command += [f"--customize-hook=copy-in {shlex.quote(str(wheels))} /opt/pageinspect"]
    # As text: in a user namespace mmdebstrap may not be able to read files of the home folder.
    command += [f"--customize-hook={(data_folder('vm-images') / _HOOK).read_text()}"]
    # In the work folder, which is removed after an interrupted build. Only for root: the user
    # namespace of another user cannot enter it.
    temporary = {"TMPDIR": str(work)} if os.geteuid() == 0 else {}
    tools.run(
        [*command, recipe.suite, tar, debian.mirror()],
        env={**os.environ, **temporary},
        contained=True,
        why="cannot install the guest root",
        hint=f"check the network, or set {debian.MIRROR_VARIABLE}; as another user than root,"
        " mmdebstrap needs newuidmap and a range in /etc/subuid (apt-get install uidmap)",
    )
