"""The running kernel's memory as a file."""

from pathlib import Path

PATH = Path("/proc/kcore")


def is_kcore(path: Path) -> bool:
    """Return whether a path leads to the running kernel's memory: by a link, or in another procfs.

    A file of procfs has the same inode number wherever that is mounted.
    """
    try:
        found, own = path.stat(), PATH.stat()
    except OSError:
        return False
    same = found.st_ino == own.st_ino and found.st_size == own.st_size
    return same and (found.st_dev == own.st_dev or (path.resolve().parent / "self/stat").exists())
