# SPDX-License-Identifier: GPL-2.0-only
"""A client of QEMU's monitor (QMP), with limits on time and data against a hostile server.

The library `qemu.qmp` needs an event loop, has no timeouts, and does not report which process sent
an answer.
"""

import contextlib
import errno
import json
import os
import socket
import stat
import struct
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeVar

from ...errors import PageInspectError
from ...host.processes import cleanup_even_if_killed

GREETING_S = 3.0
"""Timeout in seconds for the greeting, which a monitor sends as soon as it serves a client."""

ANSWER_S = 30.0
"""Timeout in seconds for a command and its answer, including events in between."""

LARGEST = 8 << 20
"""Bytes received per command, at most. The longest answer needed, to `info mtree -f`, has a few
hundred KiB."""

_WATCHER_ANSWER_S = 10.0
_AT_ONCE = 1 << 16
_MAX_QUOTED = 200
_CREDENTIALS = struct.Struct("iII")
_HOW = "start QEMU with -qmp unix:SOCKET,server=on,wait=off"

T = TypeVar("T")


class Peer(NamedTuple):
    """A process at the other end of the socket, as the kernel reports it."""

    pid: int
    """0 when it is in another PID namespace."""
    uid: int
    gid: int


class RefusedError(PageInspectError):
    """QEMU answered a command with an error."""


class Monitor:
    """A connection to a monitor over a Unix socket. Not thread-safe."""

    def __init__(
        self, connection: socket.socket, name: str, greeting_s: float | None = None
    ) -> None:
        """Wait `greeting_s` seconds (default GREETING_S) for the greeting.

        `name` is the monitor's name in errors. Raises PageInspectError if the peer is not a QMP
        monitor.
        """
        self.name = name
        self.answering = Peer(0, 0, 0)
        """The process that sent the last answer; uid and gid are its real ones."""
        self._received = bytearray()
        self._bytes_left = LARGEST
        self._number = 0
        self._failure: PageInspectError | None = None
        self._socket = connection
        try:
            self._await_greeting(GREETING_S if greeting_s is None else greeting_s)
            self.execute("qmp_capabilities")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect."""
        self._socket.close()

    @property
    def listening(self) -> Peer:
        """The process that called listen() on the socket, with its effective ids at that time."""
        return Peer(
            *_CREDENTIALS.unpack(
                self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            )
        )

    def execute(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        descriptor: int | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Run a command and return its answer. Raises RefusedError and PageInspectError.

        `descriptor` is passed to QEMU with the command. `timeout` is in seconds (default ANSWER_S);
        after a timeout, all later commands fail immediately.
        """
        if self._failure is not None:
            raise self._failure
        self._number += 1
        name = f"pageinspect-{os.getpid()}-{self._number}"
        try:
            seconds = ANSWER_S if timeout is None else timeout
            return self._exchange(command, name, arguments or {}, seconds, descriptor)
        except OSError as error:
            self._failure = PageInspectError(
                f"QEMU did not answer {command} at {self.name}: {error.strerror}",
                "did the guest end? check whether its QEMU still runs",
            )
            raise self._failure from None

    def query(self, command: str, key: str, kind: type[T]) -> T:
        """Run a command without arguments, and return the value of `key` in its answer."""
        answer = self.execute(command)
        return self._expect(answer.get(key) if isinstance(answer, dict) else None, kind, command)

    def human_command(self, line: str) -> str:
        """Run a line of the human monitor (HMP), and return its output."""
        answer = self.execute("human-monitor-command", {"command-line": line})
        return self._expect(answer, str, line)

    def _expect(self, value: object, kind: type[T], command: str) -> T:
        if not isinstance(value, kind):
            raise PageInspectError(f"{self.name} does not answer {command} as QEMU does", _HOW)
        return value

    def is_running(self) -> bool:
        """Return whether the guest's CPUs run."""
        return self.query("query-status", "running", bool)

    @contextlib.contextmanager
    def pausing(self) -> Iterator[None]:
        """Pause a running guest, and resume it at the end, even if this process is killed."""
        if not self.is_running():
            yield
            return
        resume = partial(self.execute, "cont")
        with cleanup_even_if_killed(resume, [self._socket.fileno()], orphaned=self._resume):
            self.execute("stop")
            yield

    def _resume(self) -> None:
        # 0xff makes QEMU's parser drop an unfinished command.
        self._socket.settimeout(_WATCHER_ANSWER_S)
        self._socket.sendall(b"\xff")
        self._exchange("cont", "pageinspect-watcher", {}, _WATCHER_ANSWER_S)

    def _exchange(
        self,
        command: str,
        name: str,
        arguments: Mapping[str, object],
        seconds: float,
        descriptor: int | None = None,
    ) -> Any:
        """Send a command and return its answer. Raises OSError if none arrives in time."""
        end = time.monotonic() + seconds
        self._bytes_left = LARGEST
        message = {"execute": command, "arguments": arguments, "id": name}
        self._socket.settimeout(seconds)
        socket.send_fds(
            self._socket,
            [json.dumps(message).encode() + b"\n"],
            [] if descriptor is None else [descriptor],
        )
        while True:
            answer = _parsed(self._line(end))
            if not isinstance(answer, dict) or answer.get("id") != name:
                continue
            if "error" in answer:
                error = answer["error"]
                why = error.get("desc") if isinstance(error, dict) else None
                why = why[:_MAX_QUOTED] if isinstance(why, str) else "it gives no reason"
                raise RefusedError(f"QEMU refuses {command}: {why}", "see QEMU's QMP reference")
            return answer.get("return")

    def _await_greeting(self, seconds: float) -> None:
        """Read the greeting of a QMP monitor. Raises PageInspectError if missing or invalid."""
        try:
            greeting = _parsed(self._line(time.monotonic() + seconds))
        except TimeoutError:
            if not self._received:
                raise _busy(self.name, seconds) from None
            greeting = None
        except ConnectionError:
            greeting = None
        except OSError as error:
            raise PageInspectError(f"cannot read {self.name}: {error.strerror}", _HOW) from None
        if not isinstance(greeting, dict) or "QMP" not in greeting:
            raise PageInspectError(f"{self.name} does not speak QMP", _HOW)

    def _line(self, end: float) -> bytes:
        """Return the next line. Raises OSError if it is too long, or not complete by time `end`."""
        searched = 0
        while True:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(errno.ETIMEDOUT, "it took too long")
            length = self._received.find(b"\n", searched) + 1
            if length:
                line = bytes(self._received[:length])
                del self._received[:length]
                return line
            searched = len(self._received)
            self._receive(left)

    def _receive(self, seconds: float) -> None:
        self._socket.settimeout(seconds)
        space = socket.CMSG_SPACE(_CREDENTIALS.size)
        with contextlib.suppress(TimeoutError):
            received, ancillary, _, _ = self._socket.recvmsg(_AT_ONCE, space)
            if not received:
                raise ConnectionResetError(errno.ECONNRESET, "the connection was closed")
            self._received += received
            self._bytes_left -= len(received)
            for level, kind, data in ancillary:
                if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                    self.answering = Peer(*_CREDENTIALS.unpack(data))
        if self._bytes_left < 0:
            raise OSError(errno.EMSGSIZE, f"it sent more than {LARGEST >> 20} MiB")


def _parsed(line: bytes) -> object:
    """Return the value of a line of JSON; None if the line is not JSON."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def monitor_at(path: Path) -> Monitor:
    """Connect to the monitor at a socket. Raises PageInspectError."""
    return Monitor(_connect(path), str(path))


def _connect(path: Path) -> socket.socket:
    """Connect within GREETING_S. Raises PageInspectError."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise PageInspectError(f"{path} is not a socket", _HOW)
        connection = socket.socket(socket.AF_UNIX)
        # With SO_PASSCRED each message carries the credentials of its sender.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        # With settimeout(), connect() would fail at once if the queue is full.
        limit = struct.pack("ll", int(GREETING_S), int(GREETING_S % 1 * 1e6))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        connection.connect(str(path))
    except FileNotFoundError:
        raise PageInspectError(f"{path}: no such socket", _HOW) from None
    except PermissionError:
        raise PageInspectError(
            f"{path}: permission denied", "run as root, or as the user that QEMU runs as"
        ) from None
    except ConnectionRefusedError:
        raise PageInspectError(
            f"no process listens at {path}", f"the QEMU that made it has ended; {_HOW}"
        ) from None
    except BlockingIOError:
        raise _busy(str(path), GREETING_S) from None
    except OSError as error:
        raise PageInspectError(
            f"cannot connect to {path}: {error.strerror or error}", _HOW
        ) from None
    return connection


def _busy(name: str, seconds: float) -> PageInspectError:
    return PageInspectError(
        f"{name} is busy: no greeting within {seconds:g} s",
        "a QMP socket serves one client at a time: end the other one, or give QEMU a second -qmp",
    )
