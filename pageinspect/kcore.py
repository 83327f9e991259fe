"""The running kernel's memory as a file."""

from pathlib import Path

PATH = Path("/proc/kcore")


def is_kcore(path: Path) -> bool:
    """Return whether a path, link or not, leads to the running kernel's memory."""
    try:
        return path.samefile(PATH)
    except OSError:
        return False
