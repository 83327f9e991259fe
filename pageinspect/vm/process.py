# SPDX-License-Identifier: GPL-2.0-only
"""The host's end of the agent: one connection, and the processes started over it."""

import contextlib
import functools
import itertools
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import GuestLostError, GuestTimeoutError
from .framing import STDIN_WINDOW, Decoder, Message, encode

if TYPE_CHECKING:
    import signal

_POLL_S = 0.5

Output = Callable[[str, bytes], None]
"""Called with "stdout" or "stderr" and a chunk, in the connection's thread, in order."""


Explain = Callable[[type[GuestLostError], str], GuestLostError]
"""Returns the error of this class for what failed, with the guest's console."""


@dataclass(frozen=True)
class Completed:
    """A command that ran to its end. `status` is negative for a signal, as with subprocess."""

    argv: tuple[str, ...]
    status: int
    stdout: bytes
    stderr: bytes


class Connection:
    """The socket to the agent, read by a thread of its own."""

    def __init__(self, connection: socket.socket, explain: Explain) -> None:
        self._explain = explain
        self.changed = threading.Condition()
        self.release: str | None = None
        """The kernel's release, as the agent says it when it is ready."""
        self.lost = False
        self._socket = connection
        self._sending = threading.Lock()
        self._numbers = itertools.count()
        self._processes: dict[int, GuestProcess] = {}
        self._thread = threading.Thread(target=self._receive, name="agent", daemon=True)
        self._thread.start()

    def send(self, message: Message, payload: bytes = b"") -> None:
        """Send one message. Raises GuestLostError when the agent is gone."""
        try:
            with self._sending:
                self._socket.sendall(encode(message, payload))
        except OSError as error:
            raise self._explain(GuestLostError, "the guest is lost") from error

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        tty: tuple[int, int] | None = None,
        on_output: Output | None = None,
    ) -> "GuestProcess":
        """Start a process; see Guest.start."""
        number = next(self._numbers)
        process = GuestProcess(self, number, tuple(argv), on_output)
        with self.changed:
            self._processes[number] = process
        message: Message = {"do": "start", "id": number, "argv": list(argv), "env": dict(env or {})}
        self.send(message | {"cwd": cwd, "tty": list(tty) if tty else None})
        return process

    def wait(self, condition: Callable[[], bool], timeout: float | None, what: str) -> None:
        """Wait for a condition on the agent's messages, `timeout` seconds or without limit (None).

        Raises GuestLostError when it can no longer come true, GuestTimeoutError when it did not in
        time; `what` says in the error what did not happen.
        """
        end = None if timeout is None else time.monotonic() + timeout
        with self.changed:
            while not condition() and not self.lost:
                left = None if end is None else end - time.monotonic()
                if left is not None and left <= 0:
                    raise self._explain(GuestTimeoutError, f"{what} within {timeout:g} s")
                # In short waits: Python handles a signal that comes just before a wait only after
                # it.
                self.changed.wait(_POLL_S if left is None else min(left, _POLL_S))
            done = condition()
        if not done:
            raise self._explain(GuestLostError, what)

    def close(self) -> None:
        """Disconnect and end the thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _receive(self) -> None:
        decoder = Decoder()
        try:
            while data := self._socket.recv(1 << 18):
                for message, payload in decoder.feed(data):
                    self._take(message, payload)
        except (OSError, ValueError):
            pass  # messages received before stay valid; the connection is lost
        with self.changed:
            self.lost = True
            self.changed.notify_all()

    def _take(self, message: Message, payload: bytes) -> None:
        with self.changed:
            if message["event"] == "ready":
                self.release = message["release"]
            process = self._processes.get(message.get("id", -1))
        if process is not None:
            process.take(message, payload)
        with self.changed:
            if message["event"] == "exit":
                del self._processes[message["id"]]
            self.changed.notify_all()


class GuestProcess:
    """A process in the guest. Its methods raise GuestLostError when the guest is gone."""

    def __init__(
        self, connection: Connection, number: int, argv: tuple[str, ...], on_output: Output | None
    ) -> None:
        self.argv = argv
        self.status: int | None = None
        """None while it runs, then its exit status, negative for a signal."""
        self.pid: int | None = None
        """Its pid in the guest, once it started."""
        self._connection = connection
        self._number = number
        self._on_output = on_output
        self._output = {"stdout": bytearray(), "stderr": bytearray()}
        self._under_way = 0

    @property
    def stdout(self) -> bytes:
        """Standard output so far; empty when `on_output` takes it."""
        return bytes(self._output["stdout"])

    @property
    def stderr(self) -> bytes:
        """Standard error so far; empty when `on_output` takes it."""
        return bytes(self._output["stderr"])

    def write(self, data: bytes) -> None:
        """Write to standard input, waiting for the process to take what it cannot buffer."""
        for start in range(0, len(data), STDIN_WINDOW):
            chunk = data[start : start + STDIN_WINDOW]
            self._wait(functools.partial(self._has_room, STDIN_WINDOW - len(chunk)), None)
            if self.status is not None:
                return
            with self._connection.changed:
                self._under_way += len(chunk)
            self._send("stdin", chunk)

    def _has_room(self, most: int) -> bool:
        return self._under_way <= most or self.status is not None

    def close_stdin(self) -> None:
        """End standard input."""
        self._send("stdin")

    def send_signal(self, number: "signal.Signals") -> None:
        """Send a signal to the process and its process group."""
        self._send("signal", number=int(number))

    def resize(self, rows: int, columns: int) -> None:
        """Set the size of its terminal."""
        self._send("resize", tty=[rows, columns])

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return the exit status, negative for a signal.

        Raises GuestTimeoutError after `timeout` seconds; the process goes on.
        """
        self._wait(lambda: self.status is not None, timeout)
        return self.completed().status

    def wait_for_output(self, text: bytes, timeout: float | None = None) -> None:
        """Wait until its standard output contains `text`, or until it ends."""
        self._wait(lambda: text in self.stdout or self.status is not None, timeout)

    def completed(self) -> Completed:
        """Return the result of a process that ended. Raises ValueError while it runs."""
        if self.status is None:
            raise ValueError(f"{self.argv[0]} still runs")
        return Completed(self.argv, self.status, self.stdout, self.stderr)

    def take(self, message: Message, payload: bytes) -> None:
        """Handle a message of the agent about this process; called by the connection's thread."""
        match message["event"]:
            case "stdout" | "stderr" as stream:
                if self._on_output is None:
                    with self._connection.changed:
                        self._output[stream] += payload
                else:
                    # Not under the lock: it may block on a slow reader.
                    self._on_output(stream, payload)
            case "started":
                self.pid = message["pid"]
            case "taken":
                with self._connection.changed:
                    self._under_way -= message["count"]
            case "exit":
                with self._connection.changed:
                    self.status = message["status"]

    def _wait(self, condition: Callable[[], bool], timeout: float | None) -> None:
        self._connection.wait(condition, timeout, f"{self.argv[0]} in the guest did not end")

    def _send(self, what: str, payload: bytes = b"", **more: Any) -> None:
        # Messages to a process that has ended are dropped.
        if self.status is None:
            self._connection.send({"do": what, "id": self._number, **more}, payload)
