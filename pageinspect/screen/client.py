# SPDX-License-Identifier: GPL-2.0-only
"""The process that reads memory, as the screen sees it."""

import asyncio
import contextlib
import os
import signal
import socket
from dataclasses import dataclass
from typing import Protocol

from .reading import Question, ScreenReading
from .wire import LENGTH, MOST_BYTES, packed, unpacked

_GONE = "the process that reads memory has ended: quit, and start again"


class ReadingSource(Protocol):
    """Answers questions of the screen."""

    async def ask(self, question: Question) -> ScreenReading:
        """Return the reading that is asked for; one that failed has an error."""

    def stop(self) -> None:
        """Stop reading in its midst, while the screen is suspended."""

    def go_on(self) -> None:
        """Go on after stop()."""


@dataclass(slots=True)
class ReaderClient:
    """A process that reads, at the other end of a socket; one question at a time."""

    connection: socket.socket
    group: int
    """Its process group."""
    _number: int = 0
    _streams: "tuple[asyncio.StreamReader, asyncio.StreamWriter] | None" = None

    async def ask(self, question: Question) -> ScreenReading:
        """Return the reading, or one with an error if there is no process any more."""
        self._number += 1
        try:
            return await self._answer(question)
        except (OSError, EOFError, ValueError, TypeError, KeyError):
            return ScreenReading(error=_GONE)

    async def _answer(self, question: Question) -> ScreenReading:
        if self._streams is None:
            self._streams = await asyncio.open_connection(sock=self.connection)
        reader, writer = self._streams
        writer.write(packed({**question, "number": self._number}))
        await writer.drain()
        while True:
            (n,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            if n > MOST_BYTES:
                raise ValueError(n)
            answer = unpacked(await reader.readexactly(n))
            # One that is late is for a question that has got an answer.
            if answer["number"] in (self._number, None):
                return ScreenReading.from_json(answer["reading"])

    def stop(self) -> None:
        """Stop the processes that read."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Continue them."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.group, number)
