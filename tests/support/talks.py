# SPDX-License-Identifier: GPL-2.0-only
"""Servers that speak QMP, or anything else, to whoever connects."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\r\n'


@contextlib.contextmanager
def speaking(path: Path, talk: Callable[[socket.socket], object]) -> Iterator[Path]:
    """Have a server greet, and then say what `talk` does to the one who connects."""

    def serve() -> None:
        connection, _ = listener.accept()
        # Who is spoken to may leave.
        with connection, contextlib.suppress(OSError):
            talk(connection)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield path
        thread.join()


def drip(what: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.sendall(GREETING)
        while True:
            connection.sendall(what)
            time.sleep(0.02)

    return talk


def pour(start: bytes, more: bytes) -> Callable[[socket.socket], None]:
    def talk(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(more)

    return talk


def say(what: bytes) -> Callable[[socket.socket], object]:
    def talk(connection: socket.socket) -> None:
        connection.sendall(what)
        # Until the other one leaves.
        while connection.recv(4096):
            pass

    return talk


# On a slow machine time is over first.
ENDLESS = "it sent more than 1 MiB|it took too long"
TALKS = {
    "an event now and then": (drip(b'{"event": "RESUME"}\n'), "it took too long"),
    "a blank now and then": (drip(b"\n"), "it took too long"),
    "half a line": (drip(b" "), "it took too long"),
    "answers to others": (drip(b'{"return": {}, "id": "other"}\n'), "it took too long"),
    "nothing": (say(GREETING), "it took too long"),
    "half an answer": (say(GREETING + b'{"return": '), "it took too long"),
    "events without end": (pour(GREETING, b'{"event": "RESUME"}\n' * 1000), ENDLESS),
    "blanks without end": (pour(GREETING, b"\n" * 65536), ENDLESS),
    "one line without end": (pour(GREETING, b"x" * 65536), ENDLESS),
    "deeply nested": (pour(GREETING, b"[" * 60000 + b"\n"), ENDLESS),
    "garbage": (pour(GREETING, bytes(range(256)) * 100), ENDLESS),
    "an end": (
        lambda connection: connection.sendall(GREETING),
        "was closed|Broken pipe|reset by peer",
    ),
    "a greeting without end": (pour(b"{", b'"' * 65536), f"{ENDLESS}|does not speak QMP"),
    "half a greeting": (say(GREETING[:10]), "does not speak QMP"),
    "no greeting": (say(b""), "is busy: no greeting within"),
}
