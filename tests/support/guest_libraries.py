# SPDX-License-Identifier: GPL-2.0-only
"""pyarrow, prometheus_client and textual for guests, on a disk of their own.

The root of guests has none: pyarrow would make it half as large again for all tests.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from places import DATA

from pageinspect.vm import cache, catalogue, tools
from pageinspect.vm.guest import Guest
from pageinspect.vm.root import FAST_SQUASHFS

_SERIAL = "libraries"
_FOLDER = "/opt/libraries"
_LIST = DATA / "guest_libraries.txt"
_PLATFORM = "manylinux_2_28_x86_64"
_UNUSED = ("include", "tests", "*flight*", "*s3*")
"""Parts of pyarrow that Parquet files do not need: a third of it."""
_MOUNT = f"""
for disk in /sys/block/vd*; do
    [ "$(cat $disk/serial)" = {_SERIAL} ] || continue
    mkdir {_FOLDER}
    mount -t squashfs -o ro /dev/${{disk##*/}} {_FOLDER}
    ln -s {_FOLDER}/* /opt/pageinspect/wheels/
done
"""


@contextmanager
def disk() -> Iterator[dict[str, int]]:
    """Give the disk as Guest takes it in `scratch`."""
    copy = os.memfd_create(_SERIAL)
    try:
        # QEMU locks a file that it may write, and guests may run side by side.
        with _disk().open("rb") as file, os.fdopen(os.dup(copy), "wb") as out:
            shutil.copyfileobj(file, out)
        yield {_SERIAL: copy}
    finally:
        os.close(copy)


def mount(guest: Guest) -> None:
    """Put the libraries where `pageinspect` in the guest finds them."""
    guest.run(["sh", "-ec", _MOUNT])


def _disk() -> Path:
    key = catalogue.digest(_LIST.read_bytes(), _UNUSED, FAST_SQUASHFS)
    path = cache.build_once(cache.folder("modules") / f"libraries-{key}", _build)
    cache.prune(path.parent, "libraries-*", keep=2)
    return path


def _build(work: Path) -> Path:
    where, result = work / "libraries", work / "disk"
    command = [sys.executable, "-P", "-m", "pip", "install", "--quiet", "--no-compile", "--no-deps"]
    command += ["--disable-pip-version-check", "--only-binary=:all:", "--require-hashes"]
    command += ["--python-version", catalogue.root_recipe().python, "--platform", _PLATFORM]
    tools.run(
        [*command, "--target", where, "-r", _LIST],
        why="cannot install the libraries for guests",
        hint="check the network and that `python -m pip` works",
    )
    for pattern in _UNUSED:
        for path in sorted((where / "pyarrow").glob(pattern)):
            cache.remove(path)
    tools.run(
        ["mksquashfs", where, result, "-all-root", *FAST_SQUASHFS],
        why="cannot pack the libraries for guests",
        hint="check that the disk is not full",
    )
    return result
