"""makedumpfile's flattened form: a dump as a stream of pieces, each with its place.

It starts with a block of 4096 bytes: a signature, and a type and version. Each piece is a
big-endian offset and size and then its bytes; both are -1 at the end. A later piece may overwrite
an earlier one.
"""

import contextlib
import itertools
import struct
from collections.abc import Iterator
from typing import IO

from ..guard import paced

SIGNATURE = b"makedumpfile\0\0\0\0"

_START = 4096
_PIECE = struct.Struct(">qq")
_END = -1
_MOST_AT_ONCE = 1 << 20
_FIRST = 8


class FlattenedError(ValueError):
    """What is no flattened dump, or one that is cut off."""


def pieces(source: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, bytes) as they follow each other, large ones in parts.

    Raises FlattenedError.
    """
    if not source.read(_START).startswith(SIGNATURE):
        raise FlattenedError("it does not start as a flattened dump")
    while True:
        header = source.read(_PIECE.size)
        if len(header) < _PIECE.size:
            raise FlattenedError("it is cut off")
        offset, size = _PIECE.unpack(header)
        if offset == size == _END:
            return
        if offset < 0 or size <= 0:
            raise FlattenedError("a piece of it has no place")
        while size:
            data = source.read(min(size, _MOST_AT_ONCE))
            if not data:
                raise FlattenedError("it is cut off")
            yield offset, data
            offset, size = offset + len(data), size - len(data)


def start(source: IO[bytes], size: int) -> bytes:
    """Return the first `size` bytes of the dump, as far as its first pieces have them.

    Its header comes first. What they do not have is zeros.
    """
    content = bytearray(size)
    with contextlib.suppress(FlattenedError):
        for offset, data in itertools.islice(pieces(source), _FIRST):
            if offset < size:
                part = data[: size - offset]
                content[offset : offset + len(part)] = part
    return bytes(content)


def rearrange(source: IO[bytes], target: IO[bytes]) -> None:
    """Write the dump that a flattened one stands for, as makedumpfile -R does.

    Raises FlattenedError and OSError.
    """
    for offset, data in paced(pieces(source)):
        if target.tell() != offset:
            target.seek(offset)
        target.write(data)
