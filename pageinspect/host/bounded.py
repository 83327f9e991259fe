"""Files that are given beside a core, read whole: what they are is never as long as a core."""

import errno
from pathlib import Path

from ..units import size


def read_whole(path: Path, most: int) -> bytes:
    """Return the content of a file of `most` bytes at most; raises OSError."""
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(errno.EFBIG, f"it is longer than {size(most)}")
    return data
