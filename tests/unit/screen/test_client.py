# SPDX-License-Identifier: GPL-2.0-only
"""Questions and answers over a socket."""

import asyncio
import socket

import pytest
from screen_source import USES

from pageinspect.screen import wire
from pageinspect.screen.client import ReaderClient
from pageinspect.screen.reading import ScreenReading


def asked(answers: bytes) -> ScreenReading:
    """Return what the second question gets, when the other side has written these answers."""

    async def ask() -> ScreenReading:
        here, there = socket.socketpair()
        client = ReaderClient(here, 0)
        there.sendall(wire.answer(1, USES))
        assert (await client.ask({"what": "tab"})).about == USES.about
        there.sendall(answers)
        there.shutdown(socket.SHUT_WR)
        found = await client.ask({"what": "tab"})
        there.close()
        if client._streams is not None:
            client._streams[1].close()
        return found

    return asyncio.run(ask())


OTHER = ScreenReading(about="other")


def test_an_answer() -> None:
    assert asked(wire.answer(2, OTHER)).about == "other"


def test_an_answer_that_is_late_is_not_taken_for_another() -> None:
    assert asked(wire.answer(1, USES) + wire.answer(2, OTHER)).about == "other"


def test_the_end_of_the_reader_is_an_answer() -> None:
    assert asked(wire.answer(None, OTHER)).about == "other"


@pytest.mark.parametrize(
    "answers",
    [
        b"",
        wire.answer(2, USES)[:-1],
        wire.LENGTH.pack(3) + b"[1]",
        wire.LENGTH.pack(2) + b"{}",
        wire.LENGTH.pack(3) + b"\xff\xff\xff",
        wire.LENGTH.pack((1 << 32) - 1),
        wire.packed({"number": 2, "reading": {"columns": 5}}),
    ],
)
def test_anything_else_is_an_error(answers: bytes) -> None:
    assert "has ended" in asked(answers).error
