# SPDX-License-Identifier: GPL-2.0-only
"""Writes sparse files: long runs of zeros become holes in regular files."""

import os
import stat
from collections.abc import Sequence
from typing import IO

from ..errors import PageInspectError
from ..units import size


def _is_regular(stream: IO[bytes]) -> bool:
    return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)


def check_room(streams: Sequence[IO[bytes]], needed: Sequence[int]) -> None:
    """Raise PageInspectError when a file system has less free space than the streams need."""
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
                f"the files need {size(wanted[device])}, and their disk has room for {size(free)}",
                "name files on another disk",
            )


def write_sparse(stream: IO[bytes], data: bytes) -> None:
    """Write bytes, or leave a hole if all are zeros; call end_sparse() after the last."""
    if data.count(0) == len(data) and _is_regular(stream):
        stream.seek(len(data), os.SEEK_CUR)
    else:
        stream.write(data)


def end_sparse(stream: IO[bytes]) -> None:
    """Set the length of a file that ends with a hole."""
    if _is_regular(stream):
        stream.truncate(stream.tell())
