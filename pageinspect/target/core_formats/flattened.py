# SPDX-License-Identifier: GPL-2.0-only
"""makedumpfile's flattened format: a dump as a stream of pieces, each with its offset in the dump.

The stream starts with a block of 4096 bytes: signature, type and version. Each piece is a
big-endian offset and size, followed by its bytes. An offset and size of -1 mark the end. A later
piece may overwrite an earlier one.
"""

import contextlib
import itertools
import os
import struct
from collections.abc import Iterable, Iterator
from typing import IO

import numpy as np

from ...host.progress import paced
from ...model.ranges import Range

SIGNATURE = b"makedumpfile\0\0\0\0"

_START = 4096
_END_MARK = struct.pack(">qq", -1, -1)
_PIECE = struct.Struct(">qq")
_END = -1
_MAX_AT_ONCE = 1 << 20
_FIRST = 8
_BLOCK = 4096
_SLACK = 64 << 20
_MAX_END = 1 << 62
_MAX_SPREAD = 1024
"""A piece may end at most this many times the bytes received so far from the start."""


class FlattenedError(ValueError):
    """A file that is not a flattened dump, or an invalid one."""


class CutOffFlattenedError(FlattenedError):
    """A flattened dump that is cut off."""


def pieces(source: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, bytes) in stream order, large pieces in parts.

    Raises FlattenedError.
    """
    if not source.read(_START).startswith(SIGNATURE):
        raise FlattenedError("does not start as a flattened dump")
    while True:
        header = source.read(_PIECE.size)
        if len(header) < _PIECE.size:
            raise CutOffFlattenedError("is cut off")
        offset, size = _PIECE.unpack(header)
        if offset == size == _END:
            return
        if offset < 0 or size <= 0:
            raise FlattenedError("has a piece with an invalid offset or size")
        while size:
            data = source.read(min(size, _MAX_AT_ONCE))
            if not data:
                raise CutOffFlattenedError("is cut off")
            yield offset, data
            offset, size = offset + len(data), size - len(data)


def start(source: IO[bytes], size: int) -> bytes:
    """Return the first `size` bytes of the dump, taken from the first pieces of the stream.

    The header of the dump is among these pieces. Bytes in none of them are zero. Raises
    CutOffFlattenedError when none of them has any of these bytes.
    """
    content, any_ = bytearray(size), False
    with contextlib.suppress(FlattenedError):
        for offset, data in itertools.islice(pieces(source), _FIRST):
            if offset < size:
                any_ = True
                part = data[: size - offset]
                content[offset : offset + len(part)] = part
    if not any_:
        raise CutOffFlattenedError("is flattened, and cut off in its headers")
    return bytes(content)


def ends(source: IO[bytes]) -> bool:
    """Return whether the file ends with the end mark of a flattened dump."""
    size = source.seek(0, 2)
    source.seek(max(size - len(_END_MARK), 0))
    return source.read() == _END_MARK


def _bounded(parts: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Yield the parts; raise FlattenedError if they need far more disk space than their bytes.

    Disk space is allocated in blocks, so a hostile file of scattered single bytes would need
    thousands of times its size. makedumpfile and QEMU write pieces of 16 KiB or more, without long
    holes.
    """
    given = blocks = last = 0
    for offset, data in parts:
        first, end = offset // _BLOCK, offset + len(data)
        given += len(data)
        blocks += (end - 1) // _BLOCK + 1 - first - (blocks > 0 and first == last)
        last = (end - 1) // _BLOCK
        if blocks * _BLOCK > 2 * given + _SLACK or end > _MAX_SPREAD * (given + _SLACK):
            raise FlattenedError("has pieces that are scattered over far more space than they fill")
        yield offset, data


def rearrange(
    source: IO[bytes], target: IO[bytes], written: list[tuple[int, int]] | None = None
) -> None:
    """Write the rearranged dump to `target`, as makedumpfile -R does.

    Appends the (start, end) bytes that were written to `written`. Raises FlattenedError and
    OSError.
    """
    for offset, data in paced(_bounded(pieces(source))):
        if target.tell() != offset:
            target.seek(offset)
        target.write(data)
        if written is not None:
            written.append((offset, offset + len(data)))


class Reassembled:
    """The dump that a flattened file has, to read a few parts of it without a copy.

    Bytes that are in no piece are zero.
    """

    def __init__(self, source: IO[bytes]) -> None:
        """Find the pieces. Raises FlattenedError if the file is not flattened."""
        self._source, self._at = source, 0
        found: list[tuple[int, int, int]] = []
        self.is_whole = False
        """Whether the file has its end mark."""
        size = source.seek(0, os.SEEK_END)
        source.seek(0)
        if not source.read(_START).startswith(SIGNATURE):
            raise FlattenedError("does not start as a flattened dump")
        for offset, length, place in paced(_places(source)):
            if offset == length == _END:
                self.is_whole = True
                break
            found.append((offset, max(min(length, size - place), 0), place))
        self._pieces = np.array(found, np.int64).reshape(-1, 3)

    @property
    def places(self) -> list[Range]:
        """The (start, end) bytes of the dump that are there."""
        starts, sizes = self._pieces[:, 0], self._pieces[:, 1]
        return list(zip(starts.tolist(), (starts + sizes).tolist(), strict=True))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position of the next read, from the start or the end; return it."""
        ends = self._pieces[:, 0] + self._pieces[:, 1]
        size = int(ends.max(initial=0))
        self._at = offset + (size if whence == os.SEEK_END else 0)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, or fewer at the end of the dump."""
        first, total = self._at, self.seek(0, os.SEEK_END)
        end = total if size < 0 else min(first + size, total)
        content = bytearray(max(end - first, 0))
        starts, sizes = self._pieces[:, 0], self._pieces[:, 1]
        within = self._pieces[(starts < end) & (starts + sizes > first)]
        # In the order of the file: a later piece may overwrite an earlier one.
        for offset, length, place in within.tolist():
            low, high = max(offset, first), min(offset + length, end)
            self._source.seek(place + low - offset)
            content[low - first : high - first] = self._source.read(high - low)
        self._at = max(end, first)
        return bytes(content)


def _places(source: IO[bytes]) -> Iterator[tuple[int, int, int]]:
    """Yield (offset in the dump, size, offset in the file) of each piece, and the end mark.

    Raises FlattenedError.
    """
    while len(header := source.read(_PIECE.size)) == _PIECE.size:
        offset, size = _PIECE.unpack(header)
        place = source.tell()
        yield offset, size, place
        if offset < 0 or size <= 0 or offset + size > _MAX_END:
            raise FlattenedError("has a piece with an invalid offset or size")
        source.seek(place + size)
