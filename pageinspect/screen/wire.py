# SPDX-License-Identifier: GPL-2.0-only
"""Questions and readings on a socket: JSON with its length before it.

Each question has a `number`, which its answer repeats. An answer without one, null, reports that
the process which was to answer has ended.
"""

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

from .reading import ScreenReading

LENGTH = struct.Struct("<I")
MOST_BYTES = 1 << 28
"""The longest message; some 100,000 rows take 20 MiB."""


def answer(number: int | None, reading: ScreenReading) -> bytes:
    """Return the bytes of an answer."""
    return packed({"number": number, "reading": reading.to_json()})


def packed(message: Mapping[str, Any]) -> bytes:
    """Return the bytes of a message."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return LENGTH.pack(len(body)) + body


def unpacked(body: bytes) -> dict[str, Any]:
    """Return the message of a body. Raises ValueError or TypeError for anything else."""
    message = json.loads(body)
    if not isinstance(message, dict):
        raise TypeError("not an object")
    return message


def receive(connection: socket.socket) -> dict[str, Any] | None:
    """Wait for a message; None at the end of the stream."""
    head = _exactly(connection, LENGTH.size)
    if head is None:
        return None
    body = _exactly(connection, LENGTH.unpack(head)[0])
    return None if body is None else unpacked(body)


def _exactly(connection: socket.socket, n: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < n:
        part = connection.recv(min(n - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)
