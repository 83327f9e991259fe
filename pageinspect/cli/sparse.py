"""Files of which long parts are zeros: these take no room where the file is a regular one."""

import os
import stat
from collections.abc import Sequence
from typing import IO

from ..errors import PageInspectError
from ..units import size


def _is_regular(stream: IO[bytes]) -> bool:
    return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)


def check_room(streams: Sequence[IO[bytes]], needed: Sequence[int]) -> None:
    """Raise PageInspectError when the disks have no room for so many bytes of each stream."""
    wanted: dict[int, int] = {}
    for stream, n in zip(streams, needed, strict=True):
        if not _is_regular(stream):
            continue
        device = os.fstat(stream.fileno()).st_dev
        wanted[device] = wanted.get(device, 0) + n
        disk = os.fstatvfs(stream.fileno())
        free = disk.f_bavail * disk.f_frsize
        if wanted[device] > free:
            raise PageInspectError(
                f"the files take {size(wanted[device])}, and their disk has room for {size(free)}",
                "name files on another one",
            )


def write_sparse(stream: IO[bytes], data: bytes) -> None:
    """Write bytes, or leave them out if all are zeros; end_sparse() is to follow the last."""
    if data.count(0) == len(data) and _is_regular(stream):
        stream.seek(len(data), os.SEEK_CUR)
    else:
        stream.write(data)


def end_sparse(stream: IO[bytes]) -> None:
    """Give a file that ends with zeros its length."""
    if _is_regular(stream):
        stream.truncate(stream.tell())
