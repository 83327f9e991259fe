# SPDX-License-Identifier: GPL-2.0-only
"""The protocol between host and guest: one JSON object per line, some followed by bytes.

A message is a dict; with `size` in it, that many bytes follow the line. Both ends use this module.
Host to guest: start, stdin, signal, resize. Guest to host: ready, started, stdout, stderr, taken,
exit. All but `ready` carry the `id` that the host gave a process.

No library does this for a virtio-serial port: those for sockets and HTTP need a network in the
guest.
"""

import json
from collections.abc import Iterator
from typing import Any

Message = dict[str, Any]

STDIN_WINDOW = 1 << 18
"""Most bytes of standard input sent to a process and not yet acknowledged by `taken`."""

_LONGEST_LINE = 1 << 20


def encode(message: Message, payload: bytes = b"") -> bytes:
    """Return a message as bytes for the wire."""
    if payload:
        message = {**message, "size": len(payload)}
    return json.dumps(message).encode() + b"\n" + payload


class Decoder:
    """Decodes a stream of bytes into complete (message, payload) pairs."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._message: Message | None = None

    def feed(self, data: bytes) -> Iterator[tuple[Message, bytes]]:
        """Add bytes and yield what they complete. Raises ValueError on what is not a message."""
        self._buffer += data
        while True:
            if self._message is None:
                end = self._buffer.find(b"\n")
                if end < 0:
                    if len(self._buffer) > _LONGEST_LINE:
                        raise ValueError("a line without an end")
                    return
                try:
                    message = json.loads(self._buffer[:end])
                except RecursionError:
                    raise ValueError("a line of too many levels") from None
                if not isinstance(message, dict):
                    raise ValueError("a line that is not an object")
                del self._buffer[: end + 1]
                self._message = message
            size = self._message.get("size", 0)
            if type(size) is not int or size < 0:
                raise ValueError("a message of no size")
            if len(self._buffer) < size:
                return
            payload = bytes(self._buffer[:size])
            del self._buffer[:size]
            complete, self._message = self._message, None
            yield complete, payload
