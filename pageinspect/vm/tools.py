# SPDX-License-Identifier: GPL-2.0-only
"""Programs of the host: finds missing ones and their packages, and runs programs."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO

from ..errors import PageInspectError
from ..host.processes import command_ending_with_parent
from .errors import BuildError

PACKAGE_OF = {
    "apt-cache": "apt",
    "apt-config": "apt",
    "apt-get": "apt",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "depmod": "kmod",
    "dpkg-deb": "dpkg",
    "mksquashfs": "squashfs-tools",
    "mmdebstrap": "mmdebstrap",
    "qemu-system-x86_64": "qemu-system-x86",
    "setpriv": "util-linux",
    "unshare": "util-linux",
    "zstd": "zstd",
}
"""Debian package of every program that this package runs."""

BUILD_PROGRAMS = tuple(program for program in PACKAGE_OF if program != "qemu-system-x86_64")
"""Programs needed to build kernels and the guest root; checked together."""

RUN_PROGRAMS = ("qemu-system-x86_64", "setpriv")
"""Programs needed to run a guest."""

# Debian keeps some of them in folders that only root's PATH has.
_SEARCH = ("/usr/local/sbin", "/usr/sbin", "/sbin")

_LAST_LINES = 5
_GRACE_S = 20.0

_NO_PROPAGATION = "cannot change root filesystem propagation"
"""The error of unshare where / is not a mount point."""

_CHROOT_HINT = (
    "this is a chroot whose / is not a mount point: `mount --bind ROOT ROOT` before `chroot ROOT`, "
    "or build outside"
)

_CONTAIN = ("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL")


def find(program: str) -> str | None:
    """Return the path of a program, also of one that only root's PATH has; None when missing."""
    return shutil.which(program) or shutil.which(program, path=":".join(_SEARCH))


def require(programs: Iterable[str]) -> None:
    """Raise one PageInspectError that names all missing programs and what installs them."""
    missing = sorted(program for program in programs if find(program) is None)
    if missing:
        packages = " ".join(sorted({PACKAGE_OF[program] for program in missing}))
        raise PageInspectError(
            f"this needs {', '.join(missing)}, which this machine does not have",
            f"apt-get install {packages}",
        )


def run(
    argv: Sequence[str | Path],
    *,
    why: str,
    hint: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: bytes | Path | None = None,
    contained: bool = False,
) -> str:
    """Run a program to its end and return its standard output.

    `stdin` is a file or bytes to give it; nothing is the default. Raises BuildError when it fails:
    `why` says what could not be done, the last lines of its standard error follow, and `hint` says
    what to do. The program gets a signal when this process ends, however that ends. `contained`
    gives it its own mount and PID namespaces, so that its mounts and processes end with it; it has
    no effect for users other than root.
    """
    name = str(argv[0])
    require(program for program in (name, "setpriv") if "/" not in program)
    contained = contained and os.geteuid() == 0
    command = [*(_CONTAIN if contained else ()), find(name) or name, *map(str, argv[1:])]
    with contextlib.ExitStack() as stack:
        source: IO[bytes] | int = (
            subprocess.PIPE if isinstance(stdin, bytes) else subprocess.DEVNULL
        )
        if isinstance(stdin, Path):
            source = stack.enter_context(stdin.open("rb"))
        process = subprocess.Popen(
            command_ending_with_parent(command, "KILL" if contained else "TERM"),
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=cwd,
        )
        try:
            out, said = process.communicate(stdin if isinstance(stdin, bytes) else None)
        except BaseException:
            _end(process, 0 if contained else _GRACE_S)
            raise
    if process.returncode != 0:
        lines = said.decode(errors="replace").strip().splitlines()[-_LAST_LINES:]
        if any(_NO_PROPAGATION in line for line in lines):
            hint = _CHROOT_HINT
        raise BuildError(f"{why}: {name} failed: {'; '.join(lines) or 'no message'}", hint)
    return out.decode(errors="replace")


def _end(process: "subprocess.Popen[bytes]", grace_s: float) -> None:
    """End a program, and give it time to clean up."""
    process.terminate()
    try:
        process.communicate(timeout=grace_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
