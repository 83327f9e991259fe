"""QEMU's monitor, for callers that are not asynchronous.

The library `qemu.qmp` is asynchronous: its loop runs in a thread of its own, so that QEMU's events
are taken at any time and commands may come from any thread.
"""

import asyncio
import contextlib
import socket
import threading
from typing import Any

from qemu.qmp import QMPClient
from qemu.qmp import QMPError as LibraryError
from qemu.qmp.qmp_client import ExecuteError

from .errors import QmpError

_DISCONNECT_S = 10.0


class Monitor:
    """A connection to QEMU's monitor over a socket that is connected to it."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._client: QMPClient | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="qmp", daemon=True)
        self._thread.start()

    def connect(self, timeout: float) -> None:
        """Take QEMU's greeting within `timeout` seconds. Raises QmpError without one."""
        try:
            asyncio.run_coroutine_threadsafe(self._connect(), self._loop).result(timeout)
        except (LibraryError, TimeoutError) as error:
            raise QmpError(
                f"QEMU's monitor does not answer: {error}", "run QEMU by hand"
            ) from error

    async def _connect(self) -> None:
        self._client = QMPClient("pageinspect")
        # Its log goes to stderr otherwise, where a guest that ended is no news.
        self._client.logger.disabled = True
        await self._client.connect(self._socket)

    def execute(self, command: str, arguments: dict[str, Any], timeout: float) -> Any:
        """Run a command and return its answer. Raises QmpError when QEMU refuses it."""
        if self._client is None:
            raise QmpError("QEMU's monitor is not connected", "boot the guest first")
        answer = asyncio.run_coroutine_threadsafe(
            self._client.execute(command, arguments), self._loop
        )
        try:
            return answer.result(timeout)
        except ExecuteError as error:
            raise QmpError(
                f"QEMU refuses {command}: {error}", "see QEMU's QMP reference"
            ) from error
        except TimeoutError as error:
            answer.cancel()
            raise QmpError(
                f"QEMU did not answer {command} within {timeout:g} s", "give it a longer timeout"
            ) from error
        except LibraryError as error:
            raise QmpError(f"QEMU ended during {command}", "see the guest's console") from error

    def pass_descriptor(self, name: str, descriptor: int, timeout: float = 30.0) -> None:
        """Let QEMU have a copy of a descriptor under a name. Raises QmpError."""
        asyncio.run_coroutine_threadsafe(self._send(descriptor), self._loop).result(timeout)
        self.execute("getfd", {"fdname": name}, timeout)

    async def _send(self, descriptor: int) -> None:
        if self._client is not None:
            self._client.send_fd_scm(descriptor)

    def close(self) -> None:
        """Disconnect and end the thread."""
        asyncio.run_coroutine_threadsafe(self._disconnect(), self._loop).result(_DISCONNECT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._socket.close()

    async def _disconnect(self) -> None:
        if self._client is not None:
            # QEMU may have ended first.
            with contextlib.suppress(LibraryError, OSError, EOFError):
                await self._client.disconnect()
