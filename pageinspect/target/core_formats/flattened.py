"""makedumpfile's flattened form: a dump as a stream of pieces, each with its place.

It starts with a block of 4096 bytes: a signature, and a type and version. Each piece is a
big-endian offset and size and then its bytes; both are -1 at the end. A later piece may overwrite
an earlier one.
"""

import contextlib
import itertools
import struct
from collections.abc import Iterable, Iterator
from typing import IO

from ...host.progress import paced

SIGNATURE = b"makedumpfile\0\0\0\0"

_START = 4096
_END_MARK = struct.pack(">qq", -1, -1)
_PIECE = struct.Struct(">qq")
_END = -1
_MOST_AT_ONCE = 1 << 20
_FIRST = 8
_BLOCK = 4096
_SLACK = 64 << 20
_MOST_SPREAD = 1024
"""Times of what was given so far that a piece may be behind the start."""


class FlattenedError(ValueError):
    """What is no flattened dump, or one that makes no sense."""


class CutOffError(FlattenedError):
    """A flattened dump that is cut off."""


def pieces(source: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, bytes) as they follow each other, large ones in parts.

    Raises FlattenedError.
    """
    if not source.read(_START).startswith(SIGNATURE):
        raise FlattenedError("does not start as a flattened dump")
    while True:
        header = source.read(_PIECE.size)
        if len(header) < _PIECE.size:
            raise CutOffError("is cut off")
        offset, size = _PIECE.unpack(header)
        if offset == size == _END:
            return
        if offset < 0 or size <= 0:
            raise FlattenedError("has a piece without a place")
        while size:
            data = source.read(min(size, _MOST_AT_ONCE))
            if not data:
                raise CutOffError("is cut off")
            yield offset, data
            offset, size = offset + len(data), size - len(data)


def start(source: IO[bytes], size: int) -> bytes:
    """Return the first `size` bytes of the dump, as far as its first pieces have them.

    Its header comes first. What they do not have is zeros. Raises CutOffError where they have
    nothing.
    """
    content, any_ = bytearray(size), False
    with contextlib.suppress(FlattenedError):
        for offset, data in itertools.islice(pieces(source), _FIRST):
            if offset < size:
                any_ = True
                part = data[: size - offset]
                content[offset : offset + len(part)] = part
    if not any_:
        raise CutOffError("is flattened, and cut off in its headers")
    return bytes(content)


def ends(source: IO[bytes]) -> bool:
    """Return whether the file ends as a flattened dump that is whole."""
    size = source.seek(0, 2)
    source.seek(max(size - len(_END_MARK), 0))
    return source.read() == _END_MARK


def _bounded(parts: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Yield the parts; raise FlattenedError where they take much more room than they have bytes.

    A disk has room by blocks: a byte here and there would take thousands. makedumpfile and QEMU
    write 16 KiB and more at once, and leave no long holes.
    """
    given = blocks = last = 0
    for offset, data in parts:
        first, end = offset // _BLOCK, offset + len(data)
        given += len(data)
        blocks += (end - 1) // _BLOCK + 1 - first - (blocks > 0 and first == last)
        last = (end - 1) // _BLOCK
        if blocks * _BLOCK > 2 * given + _SLACK or end > _MOST_SPREAD * (given + _SLACK):
            raise FlattenedError("has pieces that are scattered over more room than they fill")
        yield offset, data


def rearrange(
    source: IO[bytes], target: IO[bytes], written: list[tuple[int, int]] | None = None
) -> None:
    """Write the dump that a flattened one stands for, as makedumpfile -R does.

    What is written goes to `written` as (start, end). Raises FlattenedError and OSError.
    """
    for offset, data in paced(_bounded(pieces(source))):
        if target.tell() != offset:
            target.seek(offset)
        target.write(data)
        if written is not None:
            written.append((offset, offset + len(data)))
