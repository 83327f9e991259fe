# SPDX-License-Identifier: GPL-2.0-only
"""A stand-in for the loaded BPF program."""

import os
import select
import time
from dataclasses import replace
from typing import Any, cast

from pageinspect.trace.kinds import UNTYPED
from pageinspect.trace.records import Event, FreeCounts, Interval, Lost, Who, no_counts
from pageinspect.trace.session import Session

EVENT = Who(0xF6, 0, -1, 1, 0, 1, 0, "sh")


class FakeProgram:
    """One more untyped free at each reading while attached."""

    def __init__(self) -> None:
        self.attached = False
        self.calls: list[str] = []
        self.events_fd: int | None = None
        self._frees = 0

    def attach(self) -> None:
        self.attached = True
        self.calls.append("attach")

    def detach(self) -> None:
        if self.attached:
            self.calls.append("detach")
        self.attached = False

    def read(self) -> FreeCounts:
        self._frees += 1
        nothing = no_counts()
        frees = nothing.frees.copy()
        frees[UNTYPED] = self._frees
        return replace(nothing, frees=frees, lost=Lost(unread=self._frees))

    def take_events(self, start_ns: int) -> list[Event]:
        """Give one event for each byte in the pipe that stands for the ring buffer."""
        assert start_ns <= time.monotonic_ns()
        if self.events_fd is None or not select.select([self.events_fd], [], [], 0)[0]:
            return []
        return [Event(0, pfn, EVENT) for pfn in os.read(self.events_fd, 100)]


def run(program: FakeProgram, *args: Any, **kwargs: Any) -> list[Interval]:
    session = Session(cast("Any", program), *args, **kwargs)
    return list(session.readings())
