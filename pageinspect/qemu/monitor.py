"""QEMU's monitor of a guest that is someone else's: one connection, which drgn shares.

A monitor on a socket (QMP) serves one client at a time, and drgn wants a connection to itself. So
one is made here, handed to drgn, and used besides only while drgn waits for no answer: drgn reads
what it asked for at once, and both skip what is not theirs. That is why the library `qemu.qmp`,
which reads all there is at any time, does not serve here.
"""

import contextlib
import json
import os
import signal
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

from ..errors import PageInspectError

GREETING_S = 3.0
"""Seconds for the greeting, which a monitor sends at once to whom it serves."""

_ANSWER_S = 60
_WATCHER_ANSWER_S = 10
_LARGEST = 1 << 16
_HOW = "start QEMU with -qmp unix:SOCKET,server=on,wait=off"


class Monitor:
    """A connection to the monitor at a Unix socket. Raises PageInspectError when there is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = _connect(path)
        self._number = 0
        try:
            _await_greeting(self._socket, path)
        except BaseException:
            self._socket.close()
            raise
        _set_timeout(self._socket, _ANSWER_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def share(self) -> int:
        """Return a descriptor of the connection, for drgn, which takes the greeting and owns it."""
        return os.dup(self._socket.fileno())

    def execute(self, command: str, *, descriptor: int | None = None, **arguments: object) -> Any:
        """Run a command and return its answer. Raises PageInspectError.

        `descriptor` is handed to QEMU with it.
        """
        self._number += 1
        name = f"pageinspect-{os.getpid()}-{self._number}"
        try:
            return self._exchange(command, name, arguments, descriptor)
        except OSError as error:
            raise PageInspectError(
                f"QEMU did not answer {command} at {self.path}: {error.strerror}",
                "did the guest end? see whether its QEMU still runs",
            ) from None

    def _exchange(
        self, command: str, name: str, arguments: dict[str, object], descriptor: int | None = None
    ) -> Any:
        message = {"execute": command, "arguments": arguments, "id": name}
        socket.send_fds(
            self._socket,
            [json.dumps(message).encode() + b"\n"],
            [] if descriptor is None else [descriptor],
        )
        for line in _lines(self._socket):
            with contextlib.suppress(ValueError):
                answer = json.loads(line)
                if not isinstance(answer, dict) or answer.get("id") != name:
                    continue
                if "error" in answer:
                    raise PageInspectError(
                        f"QEMU refuses {command}: {answer['error'].get('desc')}",
                        "see QEMU's QMP reference",
                    )
                return answer.get("return")
        raise ConnectionResetError(0, "the connection was closed")

    def is_running(self) -> bool:
        """Return whether the guest's CPUs run."""
        return bool(self.execute("query-status")["running"])

    @contextlib.contextmanager
    def pausing(self) -> Iterator[None]:
        """Stop a guest that runs, and let it run on at the end, even if this process is killed."""
        if not self.is_running():
            yield
            return
        release = self._watch()
        try:
            self.execute("stop")
            yield
        finally:
            self.execute("cont")
            release()

    def _watch(self) -> Callable[[], None]:
        """Start a process that resumes the guest when this one ends; return what calls it off."""
        reader, writer = os.pipe()
        watcher = os.fork()
        if watcher == 0:
            try:
                os.close(writer)
                _detach()
                if not os.read(reader, 1):
                    _set_timeout(self._socket, _WATCHER_ANSWER_S)
                    # 0xff ends what was left half said.
                    self._socket.sendall(b"\xff")
                    self._exchange("cont", "pageinspect-watcher", {})
            finally:
                os._exit(0)
        os.close(reader)

        def release() -> None:
            with contextlib.suppress(BrokenPipeError):
                os.write(writer, b".")
            os.close(writer)
            os.waitpid(watcher, 0)

        return release


def _detach() -> None:
    """Leave the terminal, its signals and the pipes of the process that is watched."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)


def _set_timeout(connection: socket.socket, seconds: float) -> None:
    """Limit each wait, for drgn as well: settimeout() would make its reads not wait at all."""
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, limit)


def _connect(path: Path) -> socket.socket:
    """Connect, within GREETING_S; say what is in the way."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise PageInspectError(f"{path} is no socket", _HOW)
        connection = socket.socket(socket.AF_UNIX)
        _set_timeout(connection, GREETING_S)
        connection.connect(str(path))
    except FileNotFoundError:
        raise PageInspectError(f"{path}: no such socket", _HOW) from None
    except PermissionError:
        raise PageInspectError(
            f"{path}: permission denied", "run as root, or as the user that QEMU runs as"
        ) from None
    except ConnectionRefusedError:
        raise PageInspectError(
            f"nobody listens at {path}", f"the QEMU that made it has ended; {_HOW}"
        ) from None
    except BlockingIOError:
        raise _busy(path) from None
    except OSError as error:
        raise PageInspectError(
            f"cannot connect to {path}: {error.strerror or error}", _HOW
        ) from None
    return connection


def _await_greeting(connection: socket.socket, path: Path) -> None:
    """Wait for the greeting of a QMP monitor, and leave it to be read."""
    end = time.monotonic() + GREETING_S
    said = b""
    while b"\n" not in said and time.monotonic() < end:
        try:
            said = connection.recv(_LARGEST, socket.MSG_PEEK)
        except BlockingIOError:
            break
        except OSError as error:
            raise PageInspectError(f"cannot read {path}: {error.strerror}", _HOW) from None
        if not said:
            break
        if b"\n" not in said:
            time.sleep(0.02)
    if not said and time.monotonic() >= end:
        raise _busy(path)
    try:
        is_qmp = "QMP" in json.loads(said.split(b"\n", 1)[0])
    except (ValueError, TypeError):
        is_qmp = False
    if not is_qmp:
        raise PageInspectError(f"{path} does not speak QMP", _HOW)


def _busy(path: Path) -> PageInspectError:
    return PageInspectError(
        f"{path} is busy: no greeting within {GREETING_S:g} s",
        "a QMP socket serves one client at a time: end the other one, or give QEMU a second -qmp",
    )


def _lines(connection: socket.socket) -> Iterator[bytes]:
    """Yield the lines that come, and take no byte beyond each: what follows may be drgn's."""
    line = b""
    while True:
        said = connection.recv(_LARGEST, socket.MSG_PEEK)
        if not said:
            return
        length = said.find(b"\n") + 1
        line += connection.recv(length or len(said))
        if length:
            yield line
            line = b""
