# SPDX-License-Identifier: GPL-2.0-only
"""/proc/kcore, the running kernel's memory as a file."""

from pathlib import Path

PATH = Path("/proc/kcore")


def is_kcore(path: Path) -> bool:
    """Return whether a path is /proc/kcore, also through a link or another mount of procfs.

    A file of procfs has the same inode number in every mount.
    """
    try:
        found, own = path.stat(), PATH.stat()
    except OSError:
        return False
    same = found.st_ino == own.st_ino and found.st_size == own.st_size
    return same and (found.st_dev == own.st_dev or (path.resolve().parent / "self/stat").exists())
