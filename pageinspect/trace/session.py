# SPDX-License-Identifier: GPL-2.0-only
"""One trace, from attaching the program to detaching it.

A trace ends when its command ends, when its time is over, or on a signal; each gives a report. A
second signal ends it at once without a report, even in a write that blocks.
"""

import contextlib
import ctypes
import gc
import mmap
import os
import select
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from types import FrameType
from typing import Generic, Protocol, Self, TypeVar

from ..errors import PageInspectError
from ..host.processes import Watcher
from ..model.arch import SYS_MEMBARRIER
from .records import Counts, Difference, Interval

SETTLE_SECONDS = 0.2
"""How long counting continues after the command ended and an RCU grace period passed, because
callbacks and delayed work free pages only then. Pages in per-CPU LRU batches may stay longer."""

_MEMBARRIER_GLOBAL = 1
"""MEMBARRIER_CMD_GLOBAL, which returns after an RCU grace period."""

_GRACE_SECONDS = 5.0
"""Time from SIGTERM to SIGKILL for a command that outlives the trace."""

_SHORT_GRACE_SECONDS = 0.5
"""The same after a second signal."""

_COLLECT_EACH = 100
"""Readings between two garbage collections. Python keeps up to 2,000 free tuples of each length,
and adds one for each that was made of an iterator: until a collection of all generations, which
may be hours away, memory would grow by some 200 bytes at each reading."""

_POLL_SECONDS = 1.0
"""Longest time between two calls of `on_events`."""

_PID = struct.Struct("=i")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Event = TypeVar("Event")
Counted_co = TypeVar("Counted_co", bound=Difference, covariant=True)


class Traced(Protocol[Counted_co, Event]):
    """A program that is loaded: what it counts while it is attached, and what happens meanwhile."""

    @property
    def events_fd(self) -> int | None:
        """Descriptor that is readable while there are events to take; None without events."""

    def attach(self) -> None:
        """Start counting. Raises PageInspectError."""

    def detach(self) -> None:
        """Stop counting; the counts stay readable."""

    def take_events(self, start_ns: int) -> list[Event]:
        """Return the events since the last call, oldest first, their times since `start_ns`."""

    def read(self) -> Counted_co:
        """Return the counts since attach()."""


class _Command:
    """The traced command: the trace ends when it ends."""

    def __init__(self, argv: Sequence[str]) -> None:
        # The watcher starts before the command, so that it runs whenever this process is killed. It
        # reads the command's pid from this shared page.
        self._noted = mmap.mmap(-1, mmap.PAGESIZE)
        self._watcher = Watcher(self._end_orphaned, [])
        try:
            self._start(argv)
        except BaseException:
            self._watcher.cancel()
            raise

    def _start(self, argv: Sequence[str]) -> None:
        try:
            # stdout is for the report only. The command gets its own process group, so that its
            # children end with it. With a terminal as stdin it does not: only the foreground group
            # may read it, and Ctrl-C reaches that whole group.
            group = None if sys.stdin is not None and sys.stdin.isatty() else 0
            self._own_group = group is not None
            self._process = subprocess.Popen(argv, stdout=sys.stderr, process_group=group)
            _PID.pack_into(self._noted, 0, -self._process.pid if group == 0 else self._process.pid)
        except OSError as error:
            raise PageInspectError(
                f"{argv[0]}: cannot be started: {error.strerror}",
                "a script needs a first line such as #!/bin/sh",
            ) from None
        try:
            self.pidfd = os.pidfd_open(self._process.pid)
        except OSError as error:
            self._process.kill()
            self._process.wait()
            raise PageInspectError(
                f"the kernel refuses pidfd_open(): {error.strerror}",
                "a seccomp filter forbids it, as in some containers: trace without COMMAND, or "
                "outside the container",
            ) from None

    def _end_orphaned(self) -> None:
        """End the command, or its process group, when this process was killed."""
        (pid,) = _PID.unpack_from(self._noted)
        if not pid:
            return
        with contextlib.suppress(ProcessLookupError):
            command = os.pidfd_open(abs(pid))
            os.kill(pid, signal.SIGTERM)
            if not select.select([command], [], [], _GRACE_SECONDS)[0]:
                os.kill(pid, signal.SIGKILL)

    def end(self, grace: float) -> int:
        """End the command by SIGTERM, then by SIGKILL after `grace` seconds; return its status."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            try:
                self._process.wait(grace)
            except subprocess.TimeoutExpired:
                self._signal(signal.SIGKILL)
            except BaseException:
                # The command is killed even if a signal interrupts the wait.
                self._signal(signal.SIGKILL)
                raise
        code = self._process.wait()
        if self.pidfd >= 0:
            self._watcher.cancel()
            os.close(self.pidfd)
            self.pidfd = -1
        return 128 - code if code < 0 else code

    def _signal(self, number: int) -> None:
        """Signal the command, and its children if it has its own process group."""
        with contextlib.suppress(ProcessLookupError):
            if self._own_group:
                os.killpg(self._process.pid, number)
            else:
                signal.pidfd_send_signal(self.pidfd, number)


class _Signals:
    """Signals that end the run, as a descriptor that becomes readable."""

    def __enter__(self) -> Self:
        self.signalled_twice = False
        self._noted = False
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        # nohup's SIGHUP and a background job's SIGINT stay ignored.
        self._handlers = {
            number: signal.signal(number, self._note)
            for number in _SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        return self

    def __exit__(self, *_exception: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._read)
        os.close(self._write)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        """Do nothing on the first signal, which the wake-up pipe reports; raise on the second.

        Later signals are ignored: they would interrupt the clean-up that the second one began.
        """
        if self._noted and not self.signalled_twice:
            self.signalled_twice = True
            raise SystemExit(128 + number)
        self._noted = True

    @property
    def grace(self) -> float:
        """How long a command may take to end, in seconds."""
        return _SHORT_GRACE_SECONDS if self.signalled_twice else _GRACE_SECONDS

    def fileno(self) -> int:
        return self._read


def _rcu_grace_period() -> None:
    """Wait for an RCU grace period, where the kernel offers it to programs (not with nohz_full)."""
    ctypes.CDLL(None).syscall(SYS_MEMBARRIER, _MEMBARRIER_GLOBAL, 0, 0)


class Session(Generic[Counts, Event]):
    """One trace: `readings()` yields the counts of each interval."""

    def __init__(
        self,
        program: Traced[Counts, Event],
        seconds: float | None = None,
        interval: float | None = None,
        command: Sequence[str] = (),
        started: Callable[[], None] = lambda: None,
        on_events: Callable[[list[Event]], None] = lambda _events: None,
        *,
        sees_watcher: bool = False,
        at_end: Callable[[Interval[Counts]], None] = lambda _reading: None,
    ) -> None:
        """Prepare to count for `seconds` at most, with a reading every `interval` seconds.

        `started` is called when counting has begun. `on_events` is called with events soon after
        they happened, and at least once per second, possibly with none. With `sees_watcher` the
        process that watches over the command ends before counting does: it has pages, too. `at_end`
        is called with the last reading before a command that outlives the trace is ended.
        """
        self._program = program
        self._seconds = seconds
        self._interval = interval
        self._argv = command
        self._started = started
        self._on_events = on_events
        self._sees_watcher = sees_watcher
        self._at_end = at_end
        self._command: _Command | None = None
        self._counts: Counts | None = None
        self._start_ns = 0
        self._read_ns = 0
        self._before: tuple[Counts | None, int] = None, 0
        """What the last reading began with."""
        self._ticks = 0
        self._readings = 0

    def readings(self) -> Generator[Interval[Counts], None, None]:
        """Trace; yield the counts of each interval, and at the end those since the last one.

        Ends a command that outlives the trace. Raises PageInspectError, and SystemExit on a second
        signal, which may also be raised in the consumer of this generator.
        """
        with _Signals() as signals, contextlib.ExitStack() as stack:
            stack.callback(self._program.detach)
            self._start_ns = time.monotonic_ns()
            self._program.attach()
            self._started()
            if self._argv:
                self._command = command = _Command(self._argv)
                stack.callback(lambda: command.end(signals.grace))
            while self._wait(signals):
                yield self._reading()
            self._program.detach()
            self._pass_events()
            final = self._reading()
            self._at_end(final)
            status = self._command.end(signals.grace) if self._command is not None else None
        yield replace(final, command_status=status)

    def carry_over(self) -> None:
        """Let the next reading include the last one."""
        self._counts, self._read_ns = self._before

    def _elapsed(self) -> float:
        return (time.monotonic_ns() - self._start_ns) / 1e9

    def _wait(self, signals: _Signals) -> bool:
        """Wait for the end of the interval (True) or of the run (False)."""
        end = self._seconds if self._seconds is not None else float("inf")
        tick = float("inf")
        if self._interval is not None:
            # Ticks that passed while a report was written are skipped.
            self._ticks = max(self._ticks, int(self._elapsed() / self._interval)) + 1
            tick = self._ticks * self._interval
        watched: list[int] = [signals.fileno()]
        if self._command is not None:
            watched.append(self._command.pidfd)
        ready = self._select(watched, min(end, tick))
        if not ready:
            return tick < end
        if signals.fileno() not in ready:
            if self._sees_watcher and self._command is not None:
                self._command.end(signals.grace)
            _rcu_grace_period()
            self._select([signals.fileno()], min(end, self._elapsed() + SETTLE_SECONDS))
        return False

    def _select(self, watched: Sequence[int], until: float) -> list[int]:
        """Return which of these descriptors are readable, none at `until`; pass events on.

        `until` is in seconds since counting began.
        """
        events = [] if self._program.events_fd is None else [self._program.events_fd]
        while True:
            left = None if until == float("inf") else max(until - self._elapsed(), 0)
            if events:
                left = _POLL_SECONDS if left is None else min(left, _POLL_SECONDS)
            ready, _, _ = select.select([*watched, *events], [], [], left)
            if self._program.events_fd in ready:
                ready.remove(self._program.events_fd)
            if events:
                self._pass_events()
            if ready or self._elapsed() >= until:
                return ready

    def _pass_events(self) -> None:
        self._on_events(self._program.take_events(self._start_ns))

    def _reading(self) -> Interval[Counts]:
        self._readings += 1
        if self._readings % _COLLECT_EACH == 0:
            gc.collect()
        clock_ns = time.monotonic_ns()
        now_ns = clock_ns - self._start_ns
        counts = self._program.read()
        since = counts if self._counts is None else counts - self._counts
        reading = Interval(since, self._read_ns, now_ns, clock_ns=clock_ns)
        self._before = self._counts, self._read_ns
        self._counts, self._read_ns = counts, now_ns
        return reading
